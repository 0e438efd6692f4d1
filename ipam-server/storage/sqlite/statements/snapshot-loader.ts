import type Database from "better-sqlite3";
import type { Catalog, Pool, SubnetRecord } from "../../../domain/model/catalog.ts";
import type { AllocationNeeds, BindingKey, Needs } from "../../../domain/model/needs.ts";
import type { HeldIp, PortRecord } from "../../../domain/model/port-record.ts";
import type { AddressState, FreedAddress, FreshRun, Snapshot } from "../../../domain/model/snapshot.ts";
import { decodeFreedState, FREED_STATE_COLUMNS, type FreedStateRow } from "../../freed-rows.ts";
import { decodeOffset, encodeOffset } from "../../offset-code.ts";
import { bindingKeysOf, encodeBindingKey } from "../rows/binding-key.ts";
import { decodeMac, decodePort, encodeMac, type PortRow, QUALIFIED_PORT_COLUMNS } from "../rows/port-rows.ts";
import { SlotFinder } from "./slot-finder.ts";

const MAX_WINDOW = 4096n;

type PortNeeds = Pick<Needs, "portNames" | "bindings" | "slots"> & Partial<Pick<Needs, "holdersOf">>;

/** Loads what a batch needs, each kind by one query over the complete set. */
export class SnapshotLoader {
  readonly #byName: Database.Statement<[string], PortRow>;
  readonly #bySandbox: Database.Statement<[string], PortRow>;
  readonly #byOwner: Database.Statement<[string], PortRow>;
  readonly #byInactiveHost: Database.Statement<[string], PortRow>;
  readonly #byKey: Database.Statement<[string], PortRow>;
  readonly #fixedIps: Database.Statement<[string], [bigint, bigint, bigint]>;
  readonly #heldAt: Database.Statement<[number, bigint], number>;
  readonly #freedAt: Database.Statement<[number, bigint], FreedStateRow>;
  readonly #byMac: Database.Statement<[string], { networkId: number; mac: number; portName: string }>;
  readonly #used: Database.Statement<{ subnet: number; from: bigint; to: bigint }, bigint>;
  readonly #queue: Database.Statement<[number, number], [bigint, bigint, string, bigint]>;
  readonly #slots: SlotFinder;

  constructor(database: Database.Database) {
    this.#slots = new SlotFinder(database);
    const selectPorts = (from: string) =>
      database
        .prepare<[string], PortRow>(`SELECT ${QUALIFIED_PORT_COLUMNS} FROM json_each(?) AS wanted CROSS JOIN ${from}`)
        .raw();
    this.#byName = selectPorts("ports ON ports.name = wanted.value");
    this.#byKey = selectPorts("ports ON ports.key = wanted.value");
    this.#bySandbox = selectPorts(
      `ports INDEXED BY ports_binding ON ports.binding_key = wanted.value ->> 'key'
         AND ports.host = wanted.value ->> 'host' AND ports.sandbox_id = wanted.value ->> 'sandboxId'`,
    );
    this.#byOwner = selectPorts(
      `ports INDEXED BY ports_binding ON ports.binding_key BETWEEN wanted.value ->> 'first' AND wanted.value ->> 'last'
         AND ports.host = wanted.value ->> 'host' AND ports.owner_uid = wanted.value ->> 'ownerUid'`,
    );
    this.#byInactiveHost = selectPorts(
      "ports INDEXED BY ports_inactive ON ports.inactive_host = wanted.value AND ports.inactive_host IS NOT NULL",
    );
    this.#fixedIps = database
      .prepare<[string], [bigint, bigint, bigint]>(
        "SELECT port_key, subnet_id, offset FROM json_each(?) AS wanted CROSS JOIN fixed_ips ON port_key = wanted.value",
      )
      .raw()
      .safeIntegers();
    this.#heldAt = database
      .prepare<[number, bigint], number>("SELECT port_key FROM fixed_ips WHERE subnet_id = ? AND offset = ?")
      .pluck();
    this.#freedAt = database
      .prepare<[number, bigint], FreedStateRow>(
        `SELECT ${FREED_STATE_COLUMNS} FROM freed WHERE subnet_id = ? AND offset = ?`,
      )
      .raw();
    this.#byMac = database.prepare(
      "SELECT network_id AS networkId, mac, name AS portName FROM json_each(?) AS wanted CROSS JOIN ports ON ports.mac = wanted.value",
    );
    this.#used = database
      .prepare<{ subnet: number; from: bigint; to: bigint }, bigint>(
        `SELECT offset FROM fixed_ips WHERE subnet_id = $subnet AND offset BETWEEN $from AND $to
         UNION ALL SELECT offset FROM freed WHERE subnet_id = $subnet AND offset BETWEEN $from AND $to`,
      )
      .pluck()
      .safeIntegers();
    this.#queue = database
      .prepare<[number, number], [bigint, bigint, string, bigint]>(
        "SELECT offset, freed_at, last_port, released FROM freed WHERE subnet_id = ? AND pooled = 1 ORDER BY freed_at, offset LIMIT ?",
      )
      .raw()
      .safeIntegers();
  }

  loadPorts({ portNames, bindings, slots, holdersOf = [] }: PortNeeds, catalog: Catalog): PortRecord[] {
    const rows = portNames.length > 0 ? this.#byName.all(JSON.stringify(portNames)) : [];
    if (bindings.length > 0 || slots.length > 0 || holdersOf.length > 0) {
      const known = new Set(rows.map(([key]) => key));
      const holders = this.#findHolders(holdersOf, catalog);
      for (const row of [...this.#findBound(bindings), ...this.#slots.findRows(slots), ...holders]) {
        if (!known.has(row[0])) rows.push(row);
        known.add(row[0]);
      }
    }
    return this.withFixedIps(rows, catalog);
  }

  #findHolders(ips: readonly HeldIp[], catalog: Catalog): PortRow[] {
    const keys = ips.map(({ subnetId, offset }) =>
      this.#heldAt.get(subnetId, encodeOffset(catalog.subnet(subnetId).cidr.version, offset)),
    );
    const found = keys.filter(key => key !== undefined);
    return found.length > 0 ? this.#byKey.all(JSON.stringify(found)) : [];
  }

  #findBound(bindings: readonly BindingKey[]): PortRow[] {
    const bySandbox = bindings.flatMap(({ host, sandboxId }) =>
      sandboxId === undefined ? [] : [{ host, sandboxId, key: encodeBindingKey(host, sandboxId) }],
    );
    // A binding created before its sandbox existed is found only by its owner.
    const byOwner = bindings.flatMap(({ host, ownerUid }) =>
      ownerUid === undefined ? [] : [{ host, ownerUid, ...bindingKeysOf(host) }],
    );
    // A host has few INACTIVE bindings, so the decision compares their sandboxes.
    const hosts = [...new Set(bindings.map(({ host }) => host))];
    return [
      ...(hosts.length > 0 ? this.#byInactiveHost.all(JSON.stringify(hosts)) : []),
      ...(bySandbox.length > 0 ? this.#bySandbox.all(JSON.stringify(bySandbox)) : []),
      ...(byOwner.length > 0 ? this.#byOwner.all(JSON.stringify(byOwner)) : []),
    ];
  }

  portsByKey(keys: readonly number[], catalog: Catalog): PortRecord[] {
    return this.withFixedIps(this.#byKey.all(JSON.stringify(keys)), catalog);
  }

  withFixedIps(rows: readonly PortRow[], catalog: Catalog): PortRecord[] {
    if (rows.length === 0) return [];
    const ipsByPort = new Map<number, HeldIp[]>(rows.map(([key]) => [key, []]));
    for (const [key, subnet, offset] of this.#fixedIps.all(JSON.stringify([...ipsByPort.keys()]))) {
      const subnetId = Number(subnet);
      const { version } = catalog.subnet(subnetId).cidr;
      const ips = ipsByPort.get(Number(key));
      const ip = { subnetId, offset: decodeOffset(version, offset) };
      if (version === 4) ips?.unshift(ip);
      else ips?.push(ip);
    }
    return rows.map(row => decodePort(row, ipsByPort.get(row[0]) ?? []));
  }

  load(
    needs: Needs,
    allocations: AllocationNeeds,
    ports: readonly PortRecord[],
    catalog: Catalog,
    nextPortKey: number,
  ): Snapshot {
    const fresh = new Map<number, readonly FreshRun[]>();
    const freed = new Map<number, readonly FreedAddress[]>();
    for (const [networkId, count] of allocations) {
      for (const subnet of catalog.network(networkId).subnets) {
        const runs: FreshRun[] = [];
        let found = 0;
        for (const pool of subnet.ranges) {
          if (found >= count) break;
          if (pool.cursor > pool.last) continue;
          const offsets = this.#findFresh(subnet, pool, count - found);
          found += offsets.length;
          runs.push({ pool, offsets });
        }
        fresh.set(subnet.id, runs);
        if (found < count && subnet.freed > 0) freed.set(subnet.id, this.#oldestFreed(subnet, count));
      }
    }
    const addresses = needs.addresses.flatMap(ip => {
      const state = this.#stateOf(ip, catalog);
      return state ? [{ ...ip, state }] : [];
    });
    const macs = needs.macs.length > 0 ? this.#findMacs(needs.macs) : [];
    const vacantSlots = this.#slots.findVacant(needs.slots);
    return { catalog, ports, addresses, macs, vacantSlots, fresh, freed, nextPortKey };
  }

  /** Up to `count` offsets, from the cursor, that are neither held nor freed. */
  #findFresh(subnet: SubnetRecord, pool: Pool, count: number): bigint[] {
    const { version } = subnet.cidr;
    const fresh: bigint[] = [];
    let window = BigInt(count);
    for (let from = pool.cursor; from <= pool.last && fresh.length < count; ) {
      const to = from + window - 1n > pool.last ? pool.last : from + window - 1n;
      const used = new Set(
        this.#used.all({ subnet: subnet.id, from: encodeOffset(version, from), to: encodeOffset(version, to) }),
      );
      for (let offset = from; offset <= to && fresh.length < count; offset++) {
        if (!used.has(encodeOffset(version, offset))) fresh.push(offset);
      }
      from = to + 1n;
      if (window < MAX_WINDOW) window *= 2n;
    }
    return fresh;
  }

  #oldestFreed(subnet: SubnetRecord, count: number): FreedAddress[] {
    return this.#queue.all(subnet.id, count).map(([offset, freedAt, lastPort, released]) => ({
      offset: decodeOffset(subnet.cidr.version, offset),
      freedAt: Number(freedAt),
      lastPort,
      released: released === 1n,
      conflict: undefined,
    }));
  }

  #stateOf({ subnetId, offset }: HeldIp, catalog: Catalog): AddressState | undefined {
    const stored = encodeOffset(catalog.subnet(subnetId).cidr.version, offset);
    const heldBy = this.#heldAt.get(subnetId, stored);
    if (heldBy !== undefined) return { heldBy };
    const row = this.#freedAt.get(subnetId, stored);
    return row && decodeFreedState(row);
  }

  #findMacs(macs: readonly string[]): Snapshot["macs"] {
    const encoded = macs.map(encodeMac).filter(Number.isSafeInteger);
    return this.#byMac.all(JSON.stringify(encoded)).map(({ mac, ...row }) => ({ ...row, mac: decodeMac(mac) }));
  }
}
