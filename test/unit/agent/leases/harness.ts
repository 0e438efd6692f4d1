import { pino } from "pino";
import { Leases } from "../../../../cni/agent/leases/leases.ts";
import type {
  Claim,
  NodeLease,
  PortAttachment,
  Release,
  ReleaseResult,
} from "../../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../../ipam-server/contract/index.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";

export const LEASE_MS = 3_600_000;
export const TEN_MINUTES = 10 * 60_000;
/** The IPAM's clock differs from the node's, because nothing may depend on wall clocks. */
const SERVER_NOW = Date.parse("2031-05-05T05:05:05.000Z");

/** A node's leases with an in-memory IPAM and a clock that the test sets. */
export class Harness implements AsyncDisposable {
  readonly claims: Claim[] = [];
  readonly releases: Release[] = [];
  readonly probed: string[] = [];
  readonly outcomes = new Map<string, number>();
  /** The leases in the IPAM, with their port ids. */
  readonly held = new Map<string, string>();
  readonly leases: Leases;
  terms: NodeLease | undefined = { size: 4, low: 2 };
  /** If set, all claims are rejected with it. */
  rejection: IpamError | undefined;
  /** Called before a claim is answered. */
  onClaim: (claim: Claim) => Promise<void> | void = () => {};
  timeMs = 1000;
  leaseMs = LEASE_MS;
  #ids = 0;

  constructor(idleMs = 10 * LEASE_MS) {
    const isAway = () => this.rejection?.code === "unavailable";
    this.leases = new Leases({
      ipam: {
        claim: claim => this.#claim(claim),
        release: async releases => releases.map(each => this.#release(each)),
        get isReachable() {
          return !isAway();
        },
      },
      probes: { begin: ({ port }) => void this.probed.push(port.name) },
      canUse: ({ labels }) => labels?.fixed === undefined,
      metrics: {
        leases: {
          inc: ({ outcome }: { outcome: string }, by = 1) =>
            void this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + by),
        } as never,
      },
      log: pino({ level: "silent" }),
      now: () => this.timeMs,
      wallClock: () => new Date(),
      idleMs,
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.leases[Symbol.asyncDispose]();
  }

  static async filled(terms: NodeLease = { size: 4, low: 2 }, idleMs?: number): Promise<Harness> {
    const harness = new Harness(idleMs);
    harness.terms = terms;
    harness.observe();
    await harness.waitForStock(terms.size);
    return harness;
  }

  /** Observes the answer to a pod's claim. */
  observe(claim = pod("first")): void {
    this.leases.observe(claim, this.attach(claim));
  }

  assign(uid: string): string | undefined {
    return this.leases.assign(pod(uid))?.leasedPort;
  }

  names(): string[] {
    return Array.from(this.leases.ports(), ({ name }) => name);
  }

  waitForStock(size: number): Promise<unknown> {
    return waitFor(`${size} leases`, () => this.names().length === size);
  }

  /** Runs one pass of the background loop, after `ms` of the clock. */
  async pass(ms = 0): Promise<void> {
    this.timeMs += ms;
    this.leases.setCordoned(false);
    // The pass starts in this iteration of the event loop, and the fake answers within a few.
    for (let i = 0; i < 20; i++) await new Promise(resolve => setImmediate(resolve));
  }

  attach({ name = "", owner, host, networkSelector }: Claim): PortAttachment {
    const isLease = owner.kind === "lease";
    const updatedAt = new Date(SERVER_NOW + this.timeMs).toISOString();
    return {
      port: {
        name,
        id: this.held.get(name) ?? name,
        network: networkSelector === "env=other" ? "other" : "prod-a",
        mac: "0a:58:0a:64:01:01",
        fixedIps: [{ address: "10.100.1.1", subnet: "10.100.0.0/16", prefixLength: 16 }],
        labels: {},
        retention: { policy: "ephemeral" },
        owner,
        binding: { host, ownerUid: owner.uid, boundAt: updatedAt },
        epoch: 1,
        underlay: "DOWN",
        overlay: "ACTIVE",
        state: "DOWN_ACTIVE",
        createdAt: updatedAt,
        updatedAt,
        ...(isLease && { expiresAt: new Date(SERVER_NOW + this.timeMs + this.leaseMs).toISOString() }),
      },
      segment: { type: "vlan", id: 100, physicalNetwork: "p" },
      mtu: 1500,
      routes: [],
      dns: {},
      previousBindingReleased: true,
      ...(this.terms && { nodeLease: this.terms }),
    };
  }

  async #claim(claim: Claim): Promise<PortAttachment> {
    this.claims.push(claim);
    await this.onClaim(claim);
    if (this.rejection !== undefined) throw this.rejection;
    const { name = "" } = claim;
    if (this.terms === undefined) throw new IpamError("conflict", "leases no addresses");
    if (!this.held.has(name)) this.held.set(name, `id-${++this.#ids}`);
    return this.attach(claim);
  }

  #release(release: Release): ReleaseResult {
    if (this.rejection?.code === "unavailable") throw this.rejection;
    this.releases.push(release);
    const { name = "" } = release;
    return this.held.delete(name) ? { released: true, name, deleted: true } : { released: false, reason: "not_found" };
  }
}

export const AWAY = new IpamError("unavailable", "away");

export function pod(uid: string, change: Partial<Claim> = {}): Claim {
  return {
    name: `c1/default/${uid}`,
    cluster: "c1",
    namespace: "default",
    host: "node-a",
    owner: { kind: "pod", uid, createdAt: "2026-11-20T08:00:00.000Z" },
    sandbox: { id: `sandbox-of-${uid}`, interface: "eth0" },
    networkSelector: "env=prod",
    retention: { policy: "ephemeral" },
    ...change,
  };
}
