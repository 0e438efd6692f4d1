import { randomBytes, randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { BACKGROUND_RELEASE_POLICY } from "../../../ipam-server/client/retry-policy.ts";
import type { Claim, Owner, Port, PortAttachment } from "../../../ipam-server/contract/index.ts";
import { IpamError, LEASE_PREFIX } from "../../../ipam-server/contract/index.ts";
import { BackgroundLoop } from "../../../ipam-server/process/background-loop.ts";
import { isFinalRejection } from "../../journal/rejection.ts";
import type { AgentIpam } from "../ipam/agent-ipam.ts";
import type { AgentMetrics } from "../metrics.ts";
import { LeasePool } from "./lease-pool.ts";
import { deriveAssigned, deriveRequest, keyOf, type LeaseRequest } from "./lease-request.ts";

export interface LeasesOptions {
  ipam: Pick<AgentIpam, "claim" | "release" | "isReachable">;
  /** Whether a claim may be answered with any address: see `mayUseLease`. */
  canUse(claim: Claim): boolean;
  metrics: Pick<AgentMetrics, "leases">;
  log: Logger;
  /** Milliseconds of a clock that nobody sets and that goes on while the machine sleeps. */
  now(): number;
  wallClock(): Date;
  idleMs?: number;
}

/** What a pod was given. */
export interface AssignedLease {
  /** The lease's name. */
  leasedPort: string;
  /** As the pod's. */
  attachment: PortAttachment;
}

const IDLE_MS = 10 * 60_000;
const LONGEST_BACKOFF_MS = 5 * 60_000;
const [SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS] = [100, 60_000];

/**
 * Addresses that this node holds for pods to come, so that they need not ask. A pool for each way of asking; made when an
 * answer of the IPAM says that its network leases, filled, prolonged and given back in the background.
 *
 *     learned -> filled -> taken, down to `low` -> filled ...
 *     not used for a while, node cordoned, network leases no more, agent stops -> given back
 *
 * What is given back and cannot be told, and what a lost answer left in the IPAM, the sweep finds: a lease of this node
 * that is not in use here.
 */
export class Leases implements AsyncDisposable {
  readonly #options: LeasesOptions;
  readonly #owner: Owner;
  readonly #pools = new Map<string, LeasePool>();
  /** Names that are claimed right now. */
  readonly #underWay = new Set<string>();
  readonly #loop: BackgroundLoop;
  #isCordoned = false;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#owner = { kind: "lease", uid: randomUUID(), createdAt: options.wallClock().toISOString() };
    this.#loop = new BackgroundLoop({ pass: () => this.#pass() });
  }

  /** Gives back what is left, as far as the IPAM can be told in a short time. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]();
    await this.#giveBack(
      [...this.#pools.values()].flatMap(pool => pool.removeAll()).map(({ attachment }) => attachment),
    );
  }

  /** What the IPAM answered to a claim: whether pods that ask like this may get leased addresses. */
  observe(claim: Claim, { nodeLease, port }: PortAttachment): void {
    if (this.#loop.signal.aborted || !this.#options.canUse(claim)) return;
    const wish = deriveRequest(claim);
    const pool = this.#pools.get(keyOf(wish));
    if (nodeLease !== undefined) this.#open(wish, nodeLease);
    else if (pool !== undefined) void this.#giveBack(removeFrom(pool, item => item.network === port.network));
  }

  /** An address for the claim's pod, from now on the pod's. Undefined: ask the IPAM. */
  assign(claim: Claim): AssignedLease | undefined {
    const pool = this.#poolFor(claim);
    const lease = pool?.assign(claim.owner.uid, this.#options.now());
    if (pool === undefined || lease === undefined || claim.name === undefined) return undefined;
    this.#options.metrics.leases.inc({ outcome: "assigned" });
    if (pool.size < pool.terms.low) this.#loop.wake();
    return { leasedPort: lease.port.name, attachment: deriveAssigned(lease, { ...claim, name: claim.name }) };
  }

  /** Whether a pod that is about to ask will find an address here. */
  reserve(claim: Claim): boolean {
    return this.#poolFor(claim)?.reserve(claim.owner.uid, this.#options.now()) ?? false;
  }

  /** The pod will not ask any more. */
  cancelReservation(ownerUid: string): void {
    for (const pool of this.#pools.values()) pool.cancelReservation(ownerUid);
  }

  /** A node that takes no new pods holds nothing for them. */
  setCordoned(isCordoned: boolean): void {
    this.#isCordoned = isCordoned;
    this.#loop.wake();
  }

  /** The IPAM is back: what could not be asked for is asked for now. */
  retry(): void {
    for (const pool of this.#pools.values()) pool.fillAt = 0;
    this.#loop.wake();
  }

  /** The leases that no pod has yet. */
  *ports(): Generator<Port> {
    for (const pool of this.#pools.values()) for (const { attachment } of pool.items()) yield attachment.port;
  }

  /** Whether it is waiting for a pod, or is being asked for. */
  isInUse(name: string): boolean {
    return this.#underWay.has(name) || [...this.#pools.values()].some(pool => pool.has(name));
  }

  /** The IPAM has ended these leases: nobody may be given them any more. */
  dropWhere(isOver: (port: Port) => boolean): void {
    for (const pool of this.#pools.values()) if (removeFrom(pool, isOver).length > 0) this.#loop.wake();
  }

  #poolFor(claim: Claim): LeasePool | undefined {
    if (this.#pools.size === 0 || this.#loop.signal.aborted || !this.#options.canUse(claim)) return undefined;
    return this.#pools.get(keyOf(deriveRequest(claim)));
  }

  #open(wish: LeaseRequest, terms: LeasePool["terms"]): void {
    const pool = this.#pools.get(keyOf(wish));
    if (pool !== undefined) pool.terms = terms;
    else if (!this.#isCordoned) {
      this.#pools.set(keyOf(wish), new LeasePool(wish, terms, this.#options.now()));
      this.#loop.wake();
    }
  }

  /** Resolves with the milliseconds until a pool is due again. */
  async #pass(): Promise<number> {
    await Promise.all([...this.#pools].map(([key, pool]) => this.#keep(key, pool)));
    const nextAt = Math.min(...[...this.#pools.values()].map(pool => pool.nextAt(this.#idleMs)));
    return Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, nextAt - this.#options.now()));
  }

  /** With the IPAM away nobody else could have what is idle here, and pods to come could have nothing else. */
  get #idleMs(): number {
    const { ipam, idleMs = IDLE_MS } = this.#options;
    return ipam.isReachable ? idleMs : Number.POSITIVE_INFINITY;
  }

  async #keep(key: string, pool: LeasePool): Promise<void> {
    const { now } = this.#options;
    if (this.#isCordoned || pool.usedAt + this.#idleMs <= now()) {
      this.#pools.delete(key);
      return this.#giveBack(pool.removeAll().map(({ attachment }) => attachment));
    }
    await this.#giveBack(pool.removeUnfit(now()).map(({ attachment }) => attachment));
    const due = [...pool.items()].filter(({ renewAt }) => renewAt <= now());
    await Promise.all(due.map(({ attachment }) => this.#prolong(pool, attachment)));
    await this.#fill(pool);
  }

  async #fill(pool: LeasePool): Promise<void> {
    const { log, now } = this.#options;
    const names = Array.from({ length: pool.shortfall(now()) }, () => this.#newName(pool.request.host));
    if (names.length === 0) return;
    const outcomes = await Promise.allSettled(names.map(name => this.#claim(pool, name, "leased")));
    const failure = outcomes.find(outcome => outcome.status === "rejected")?.reason;
    pool.fillFailures = failure === undefined ? 0 : pool.fillFailures + 1;
    if (failure === undefined) return;
    const backoffMs = Math.min(LONGEST_BACKOFF_MS, 1000 * 2 ** Math.min(pool.fillFailures, 9));
    pool.fillAt = now() + backoffMs * (0.5 + Math.random() / 2);
    log.info({ reason: IpamError.from(failure).message }, "is leased fewer addresses than its pods may need");
  }

  /** A pod may be given the address meanwhile: then the answer says nothing that matters. */
  async #prolong(pool: LeasePool, { port }: PortAttachment): Promise<void> {
    const { name, id } = port;
    try {
      const answer = await this.#claim(pool, name, "renewed");
      // The IPAM had heard of its pod first: the claim has made another under its name, and nobody here counts on that one.
      // Had it been ended, the other is as good, and in its place.
      if (answer.port.id !== id && !pool.has(name)) await this.#giveBack([answer]);
    } catch (error) {
      if (!isFinalRejection(IpamError.from(error))) return pool.postpone(name, this.#options.now());
      this.#options.log.info({ lease: name, reason: IpamError.from(error).message }, "a lease is not prolonged");
      const item = pool.remove(name);
      if (item !== undefined) await this.#giveBack([item.attachment]);
    }
  }

  /** Made or made longer. Rejects with IpamError. */
  async #claim(pool: LeasePool, name: string, outcome: "leased" | "renewed"): Promise<PortAttachment> {
    const { ipam, now, metrics } = this.#options;
    const isKnown = pool.has(name);
    const sentAt = now();
    this.#underWay.add(name);
    try {
      const retention = { policy: "ephemeral" } as const;
      const attachment = await ipam.claim({ ...pool.request, name, owner: this.#owner, retention });
      metrics.leases.inc({ outcome });
      if (attachment.nodeLease !== undefined) pool.terms = attachment.nodeLease;
      // Taken or dropped since: it is not this node's to give away again.
      if (isKnown && !pool.has(name)) return attachment;
      if (!pool.put(attachment, sentAt, now())) await this.#giveBack([attachment]);
      return attachment;
    } finally {
      this.#underWay.delete(name);
    }
  }

  /** Never rejects. */
  async #giveBack(leases: readonly PortAttachment[]): Promise<void> {
    if (leases.length === 0) return;
    const { ipam, log, metrics } = this.#options;
    const releases = leases.flatMap(({ port: { name, binding } }) =>
      binding === undefined ? [] : [{ name, host: binding.host, ownerUid: this.#owner.uid }],
    );
    try {
      const results = await ipam.release(releases, BACKGROUND_RELEASE_POLICY);
      metrics.leases.inc({ outcome: "returned" }, results.filter(result => !("problem" in result)).length);
    } catch (error) {
      log.info({ leases: releases.length, reason: IpamError.from(error).message }, "leases are given back by a sweep");
    }
  }

  #newName(host: string): string {
    return `${LEASE_PREFIX}${host}/${randomBytes(8).toString("hex")}`;
  }
}

function removeFrom(pool: LeasePool, isOver: (port: Port) => boolean): PortAttachment[] {
  const over = Array.from(pool.items(), ({ attachment }) => attachment).filter(({ port }) => isOver(port));
  for (const { port } of over) pool.remove(port.name);
  return over;
}
