import {
  type Claim,
  type EventList,
  type EventQuery,
  type ImportResponse,
  IpamError,
  type MooringEvent,
  type Network,
  type Port,
  type PutNetworkResponse,
} from "../../ipam-server/contract/index.ts";
import { type Duty, leadAlone } from "../../ipam-server/domain/model/leadership.ts";
import type { Mutation, Outcome } from "../../ipam-server/domain/model/mutation.ts";
import { applyEdit, type NetworkEdit } from "../../ipam-server/domain/networks/network-edit.ts";
import type { Store } from "../../ipam-server/domain/store.ts";
import type { TransferRow } from "../../ipam-server/domain/transfer/transfer.ts";

/**
 * A store without rules, for tests of what is around it: every claim gets a port, every release succeeds, events are
 * written, nothing is refused. `failing` makes commits reject, `gate` holds them back.
 */
export class MemoryStore implements Store {
  readonly batches: Mutation[][] = [];
  readonly events: MooringEvent[] = [];
  readonly #networks = new Map<string, Network>();
  readonly #ports = new Map<string, Port>();
  readonly #listeners = new Set<(lastSeq: number) => void>();
  failing: IpamError | undefined;
  gate: Promise<void> | undefined;
  /** A commit has begun. */
  entered = false;

  async commit(batch: readonly Mutation[]): Promise<Outcome[]> {
    this.entered = true;
    await this.gate;
    if (this.failing) throw this.failing;
    this.batches.push([...batch]);
    const outcomes = batch.map(mutation => this.#apply(mutation));
    this.#notify();
    return outcomes;
  }

  /** An event as if a commit had written it. */
  emit(event: Partial<MooringEvent>): void {
    this.#write(event);
    this.#notify();
  }

  async putNetwork(edit: NetworkEdit): Promise<PutNetworkResponse> {
    const manifest = applyEdit(edit, []);
    const { name, labels = {} } = manifest.metadata;
    const time = new Date().toISOString();
    const { segment, subnets = [], vpc = "default", mtu = 1500 } = manifest.spec;
    const network: Network = {
      ...{ name, labels, vpc, segment, mtu, createdAt: time, updatedAt: time },
      subnets: subnets.map(({ cidr, pools = [], exclude = [], routes = [], dns = {} }) => ({
        ...{ cidr, pools, exclude, routes, dns, ipVersion: cidr.includes(":") ? 6 : 4 },
        usage: { size: "254", held: 0, freed: 0 },
      })),
    };
    const outcome = this.#networks.has(name) ? "changed" : "created";
    this.#networks.set(name, network);
    return { network, outcome, changes: [] };
  }

  async deleteNetwork(name: string): Promise<void> {
    await this.readNetwork(name);
    this.#networks.delete(name);
  }

  changeCluster = async () => undefined;
  readClusters = async () => [];
  changeRecovery = async () => undefined;

  readNetworks = async (): Promise<Network[]> => [...this.#networks.values()];

  async readNetwork(name: string): Promise<Network> {
    const network = this.#networks.get(name);
    if (!network) throw new IpamError("not_found", `there is no network ${name}`);
    return network;
  }

  readPorts = async () => ({ ports: [...this.#ports.values()] });

  async readPort(name: string): Promise<Port> {
    const port = this.#ports.get(name);
    if (!port) throw new IpamError("not_found", `there is no port ${name}`);
    return port;
  }

  async readEvents({ after = 0, limit = 100, host, type }: EventQuery): Promise<EventList> {
    const events = this.events.filter(
      event =>
        event.seq > after &&
        (host === undefined || event.host === host || event.fromHost === host) &&
        (type === undefined || type.some(each => each === event.type)),
    );
    const page = events.slice(0, limit);
    const nextAfter = events.length > limit && page.at(-1)?.seq;
    return {
      events: page,
      lastSeq: this.events.at(-1)?.seq ?? 0,
      oldestSeq: this.events[0]?.seq ?? 1,
      ...(nextAfter && { nextAfter }),
    };
  }

  onEvents(listener: (lastSeq: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  ready = async () => {
    if (this.failing) throw this.failing;
  };
  readUsage = async () => ({ database: 4096, events: 0 });
  check = async () => [];
  readConflicts = async () => [];
  collectExpired = async () => 0;
  lead = (duty: Duty) => leadAlone(1, duty);
  async [Symbol.asyncDispose](): Promise<void> {}

  #apply(mutation: Mutation): Outcome {
    switch (mutation.kind) {
      case "claim":
        return this.#claim(mutation.claim, mutation.caller);
      case "activate":
        return { problem: new IpamError("not_found", `there is no port ${mutation.activation.name}`).toProblem() };
      case "release":
        return { released: true, name: mutation.release.name ?? "", deleted: false };
      case "report":
        return { applied: true };
      case "reserve":
      case "protect":
        return { port: portOf(mutation.name), created: true };
      case "deletePort": {
        const port = this.#ports.get(mutation.name);
        if (port) return { deleted: port };
        return { problem: new IpamError("not_found", `there is no port ${mutation.name}`).toProblem() };
      }
      case "workloadReport":
        return { applied: true, deleted: false };
      case "purgePort":
        return { purged: "deleted" };
      case "clearConflict":
        return { cleared: true };
    }
  }

  #claim(claim: Claim, caller: string): Outcome {
    const name = claim.name ?? `${claim.slotOf?.application}/0`;
    const port = portOf(name);
    this.#ports.set(name, port);
    this.#write({ type: "port.bound", port: name, host: claim.host, caller });
    const segment = { type: "flat", physicalNetwork: "physnet1" } as const;
    return { port, segment, mtu: 1500, routes: [], dns: {}, previousBindingReleased: true };
  }

  #write(event: Partial<MooringEvent>): void {
    const seq = (this.events.at(-1)?.seq ?? 0) + 1;
    this.events.push({ type: "port.bound", caller: "test", time: new Date().toISOString(), ...event, seq });
  }

  async *exportRows(): AsyncGenerator<TransferRow> {}

  async importRows(): Promise<ImportResponse> {
    return { networks: 0, ports: 0, freed: 0, digest: "" };
  }

  #notify(): void {
    const lastSeq = this.events.at(-1)?.seq ?? 0;
    for (const listener of this.#listeners) listener(lastSeq);
  }
}

function portOf(name: string): Port {
  const time = new Date().toISOString();
  return {
    ...{ name, id: "p1", network: "prod", mac: "0a:58:0a:64:01:05", labels: {}, retention: { policy: "ephemeral" } },
    fixedIps: [{ address: "10.100.1.5", subnet: "10.100.0.0/16", prefixLength: 16, gateway: "10.100.0.1" }],
    ...{ epoch: 1, underlay: "BUILD", overlay: "BUILD", state: "BUILD_BUILD", createdAt: time, updatedAt: time },
  };
}
