import type { SlotOf } from "../../contract/index.ts";
import { addressAt, type Catalog, poolAt, type SubnetCounters, type SubnetRecord } from "../model/catalog.ts";
import type { HeldIp, PortRecord } from "../model/port-record.ts";
import type {
  AddressState,
  FreedAddress,
  FreedState,
  FreshRun,
  NewEvent,
  Snapshot,
  Writes,
} from "../model/snapshot.ts";
import { WorkingSlots } from "./slots/working-slots.ts";

interface AddressEntry extends HeldIp {
  before: AddressState | undefined;
  now: AddressState | undefined;
}

/** A decision needs pools that the snapshot lacks: the store loads them and decides the batch again. */
export class MissingPools extends Error {
  readonly networkId: number;
  constructor(networkId: number) {
    super(`the snapshot lacks the pools of network ${networkId}`);
    this.networkId = networkId;
  }
}

const addressKey = ({ subnetId, offset }: HeldIp) => `${subnetId}/${offset}`;
const macKey = (networkId: number, mac: string) => `${networkId}/${mac}`;

/**
 * The snapshot overlaid with the changes of the batch's earlier items. An item decides everything before it changes
 * anything, so that an item that fails leaves no trace.
 */
export class WorkingState {
  readonly catalog: Catalog;
  readonly events: NewEvent[] = [];
  readonly #snapshot: Snapshot;
  readonly #before = new Map<number, PortRecord>();
  readonly #ports = new Map<string, PortRecord>();
  readonly #slots: WorkingSlots;
  readonly #touched = new Map<number, PortRecord | undefined>();
  readonly #addresses = new Map<string, AddressEntry>();
  readonly #macs = new Map<string, string | undefined>();
  readonly #counters = new Map<number, SubnetCounters>();
  /** How many offsets of each run are in use. */
  readonly #freshUsed = new Map<FreshRun, number>();
  readonly #freedQueues = new Map<number, FreedAddress[]>();
  #nextPortKey: number;

  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot;
    this.catalog = snapshot.catalog;
    this.#nextPortKey = snapshot.nextPortKey;
    this.#slots = new WorkingSlots(snapshot);
    for (const port of snapshot.ports) {
      this.#before.set(port.key, port);
      this.#ports.set(port.name, port);
      this.#slots.put(port);
    }
    for (const { subnetId, offset, state } of snapshot.addresses) {
      this.#addresses.set(addressKey({ subnetId, offset }), { subnetId, offset, before: state, now: state });
    }
    for (const { networkId, mac, portName } of snapshot.macs) this.#macs.set(macKey(networkId, mac), portName);
  }

  port(name: string): PortRecord | undefined {
    return this.#ports.get(name);
  }

  portByKey(key: number): PortRecord | undefined {
    return this.#ports.values().find(port => port.key === key);
  }

  /** All ports of the snapshot and of the batch. */
  ports(): Iterable<PortRecord> {
    return this.#ports.values();
  }

  /** The ports of a series of slots. */
  slots(series: string): Iterable<PortRecord> {
    return this.#slots.of(series);
  }

  /** The lowest slot number whose name no port has. */
  vacantSlot(slotOf: SlotOf): number {
    return this.#slots.lowestVacant(slotOf, name => this.#ports.has(name));
  }

  newPortKey(): number {
    return this.#nextPortKey++;
  }
  /** The key that the next new port will get. */
  peekPortKey(): number {
    return this.#nextPortKey;
  }

  putPort(port: PortRecord): void {
    const old = this.#ports.get(port.name);
    if (old) this.#macs.set(macKey(old.networkId, old.mac), undefined);
    this.#macs.set(macKey(port.networkId, port.mac), port.name);
    this.#ports.set(port.name, port);
    this.#slots.put(port);
    this.#touched.set(port.key, port);
  }

  removePort(port: PortRecord): void {
    this.#macs.set(macKey(port.networkId, port.mac), undefined);
    this.#ports.delete(port.name);
    this.#slots.remove(port);
    this.#touched.set(port.key, undefined);
  }

  /** The name of the port with a wanted MAC. */
  macHolder(networkId: number, mac: string): string | undefined {
    return this.#macs.get(macKey(networkId, mac));
  }

  /** The texts of held addresses, for events and messages. */
  addressTexts(ips: readonly HeldIp[]): string[] {
    return ips.map(({ subnetId, offset }) => addressAt(this.catalog.subnet(subnetId), offset));
  }

  address(ip: HeldIp): AddressState | undefined {
    return this.#addresses.get(addressKey(ip))?.now;
  }

  counters(subnet: SubnetRecord): Readonly<SubnetCounters> {
    return this.#counters.get(subnet.id) ?? subnet;
  }

  #changeCounters(subnet: SubnetRecord, by: Partial<SubnetCounters>): void {
    const { held, outside, freed } = this.counters(subnet);
    this.#counters.set(subnet.id, {
      held: held + (by.held ?? 0),
      outside: outside + (by.outside ?? 0),
      freed: freed + (by.freed ?? 0),
    });
  }

  hold(ip: HeldIp, portKey: number): void {
    const subnet = this.catalog.subnet(ip.subnetId);
    const pooled = poolAt(subnet, ip.offset) !== undefined;
    const entry = this.#entryOf(ip, undefined);
    if (entry.now && "heldBy" in entry.now) throw new Error(`address ${addressKey(ip)} is held already`);
    if (entry.now?.conflict) throw new Error(`address ${addressKey(ip)} has a conflict`);
    this.#changeCounters(subnet, { held: 1, outside: pooled ? 0 : 1, freed: entry.now && pooled ? -1 : 0 });
    entry.now = { heldBy: portKey };
  }

  free(ip: HeldIp, port: PortRecord, freedAt: number): void {
    const subnet = this.catalog.subnet(ip.subnetId);
    const pooled = poolAt(subnet, ip.offset) !== undefined;
    const entry = this.#entryOf(ip, { heldBy: port.key });
    if (!entry.now || !("heldBy" in entry.now) || entry.now.heldBy !== port.key) {
      throw new Error(`address ${addressKey(ip)} is not held by port ${port.name}`);
    }
    this.#changeCounters(subnet, { held: -1, outside: pooled ? 0 : -1, freed: pooled ? 1 : 0 });
    const released = port.binding === undefined && port.previousBindingReleased;
    entry.now = { freedAt, lastPort: port.name, released, conflict: undefined };
    if (pooled) this.#freedQueue(subnet.id).push({ offset: ip.offset, ...entry.now });
  }

  /** Takes an address that the batch has freed out of use. */
  markConflict(ip: HeldIp, conflict: { mac: string; host: string }): void {
    const { subnet, entry, state } = this.#freedEntry(ip);
    if (poolAt(subnet, ip.offset)) this.#changeCounters(subnet, { freed: -1 });
    entry.now = { ...state, conflict };
  }

  /** Appends the address to the queue of freed ones. */
  clearConflict(ip: HeldIp, freedAt: number): void {
    const { subnet, entry, state } = this.#freedEntry(ip);
    entry.now = { ...state, freedAt, conflict: undefined };
    if (!poolAt(subnet, ip.offset)) return;
    this.#changeCounters(subnet, { freed: 1 });
    this.#freedQueue(subnet.id).push({ offset: ip.offset, ...entry.now });
  }

  #freedEntry(ip: HeldIp): { subnet: SubnetRecord; entry: AddressEntry; state: FreedState } {
    const entry = this.#entryOf(ip, undefined);
    if (!entry.now || "heldBy" in entry.now) throw new Error(`address ${addressKey(ip)} is not freed`);
    return { subnet: this.catalog.subnet(ip.subnetId), entry, state: entry.now };
  }

  /** @param stored the state in the store of an address that neither snapshot nor batch has */
  #entryOf(ip: HeldIp, stored: AddressState | undefined): AddressEntry {
    const key = addressKey(ip);
    let entry = this.#addresses.get(key);
    if (!entry) {
      entry = { subnetId: ip.subnetId, offset: ip.offset, before: stored, now: stored };
      this.#addresses.set(key, entry);
    }
    return entry;
  }

  /** The next never-used offset, in order of the pools. Idempotent until that offset is held. */
  nextFresh({ id, networkId }: SubnetRecord): bigint | undefined {
    const runs = this.#snapshot.fresh.get(id);
    if (!runs) throw new MissingPools(networkId);
    for (const run of runs) {
      const offset = this.#nextOf(id, run);
      if (offset !== undefined) return offset;
    }
    return undefined;
  }

  #nextOf(subnetId: number, run: FreshRun): bigint | undefined {
    for (let count = this.#freshUsed.get(run) ?? 0; ; count++) {
      const offset = run.offsets[count];
      this.#freshUsed.set(run, count);
      if (offset === undefined || this.address({ subnetId, offset }) === undefined) return offset;
    }
  }

  /** The oldest freed offset of a subnet's pools, within its reuse delay or not. */
  oldestFreed(subnet: SubnetRecord): FreedAddress | undefined {
    const queue = this.#freedQueue(subnet.id);
    for (;;) {
      const oldest = queue[0];
      if (!oldest) return undefined;
      const entry = this.#entryOf({ subnetId: subnet.id, offset: oldest.offset }, oldest);
      const { now } = entry;
      if (now && "freedAt" in now && now.freedAt === oldest.freedAt && !now.conflict) return oldest;
      queue.shift();
    }
  }

  #freedQueue(subnetId: number): FreedAddress[] {
    let queue = this.#freedQueues.get(subnetId);
    if (!queue) {
      queue = [...(this.#snapshot.freed.get(subnetId) ?? [])];
      this.#freedQueues.set(subnetId, queue);
    }
    return queue;
  }

  toWrites(): Writes {
    const writes: Writes = {
      insertedPorts: [],
      updatedPorts: [],
      movedPorts: [],
      renamedPorts: [],
      deletedPorts: [],
      insertedHeld: [],
      deletedHeld: [],
      insertedFreed: [],
      deletedFreed: [],
      cursors: new Map(),
      counters: this.#counters,
      nextPortKey: this.#nextPortKey === this.#snapshot.nextPortKey ? undefined : this.#nextPortKey,
      events: this.events,
    };
    for (const [key, port] of this.#touched) {
      const before = this.#before.get(key);
      if (port) (before ? writes.updatedPorts : writes.insertedPorts).push(port);
      if (port && before && (before.mac !== port.mac || before.networkId !== port.networkId)) {
        writes.movedPorts.push(port);
      }
      if (port && before && before.name !== port.name) writes.renamedPorts.push(port);
      if (!port && before) writes.deletedPorts.push(before);
    }
    for (const entry of this.#addresses.values()) this.#addAddress(writes, entry);
    this.#addCursors(writes);
    return writes;
  }

  #addAddress(writes: Writes, { subnetId, offset, before, now }: AddressEntry): void {
    if (before === now) return;
    if (before) ("heldBy" in before ? writes.deletedHeld : writes.deletedFreed).push({ subnetId, offset });
    if (!now) return;
    if ("heldBy" in now) writes.insertedHeld.push({ subnetId, offset, portKey: now.heldBy });
    else {
      const pooled = !now.conflict && poolAt(this.catalog.subnet(subnetId), offset) !== undefined;
      writes.insertedFreed.push({ subnetId, offset, ...now, pooled });
    }
  }

  /** Moves each cursor past every offset in use, wanted addresses included. */
  #addCursors(writes: Writes): void {
    for (const [subnetId, runs] of this.#snapshot.fresh) {
      for (const run of runs) {
        const { pool, offsets } = run;
        const next = this.#freshUsed.has(run) ? this.#nextOf(subnetId, run) : offsets[0];
        const cursor = next ?? (offsets.at(-1) ?? pool.last) + 1n;
        if (cursor !== pool.cursor) writes.cursors.set(pool, cursor);
      }
    }
  }
}
