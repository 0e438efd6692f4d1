import { randomBytes, randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { BACKGROUND_RELEASE_POLICY, deriveRetryDelay } from "../../../ipam-server/client/retry-policy.ts";
import type { Claim, Owner, Port, PortAttachment } from "../../../ipam-server/contract/index.ts";
import { IpamError, LEASE_PREFIX } from "../../../ipam-server/contract/index.ts";
import { BackgroundLoop } from "../../../ipam-server/process/background-loop.ts";
import { isFinalRejection } from "../../journal/rejection.ts";
import type { AddressProbes } from "../claims/address-probes.ts";
import type { AgentIpam } from "../ipam/agent-ipam.ts";
import type { AgentMetrics } from "../metrics.ts";
import { LeasePool } from "./lease-pool.ts";
import { deriveAssigned, deriveRequest, keyOf, type LeaseRequest } from "./lease-request.ts";

export interface LeasesOptions {
  ipam: Pick<AgentIpam, "claim" | "release" | "isReachable">;
  /** True if a claim may be granted any address. See `canUseLease`. */
  canUse(claim: Claim): boolean;
  probes: Pick<AddressProbes, "begin">;
  metrics: Pick<AgentMetrics, "leases">;
  log: Logger;
  /** Milliseconds of a clock that nothing sets and that counts while the machine sleeps. */
  now(): number;
  wallClock(): Date;
  idleMs?: number;
}

/** A lease that was assigned to a pod. */
export interface AssignedLease {
  /** The lease's port name. */
  leasedPort: string;
  /** The expected attachment of the pod. */
  attachment: PortAttachment;
}

const IDLE_MS = 10 * 60_000;
const LONGEST_BACKOFF_MS = 5 * 60_000;
const [SHORTEST_PAUSE_MS, LONGEST_PAUSE_MS] = [100, 60_000];

/**
 * Leased addresses of this node for pods to come, which then need no request to the IPAM. One pool for each kind of request.
 *
 *     observed -> filled -> assigned, down to `low` -> filled ...
 *     idle, node cordoned, network grants no leases, agent shuts down -> released
 *
 * The sweep releases leases of this node that are not in use here, after a failed release or a lost answer.
 */
export class Leases implements AsyncDisposable {
  readonly #options: LeasesOptions;
  readonly #owner: Owner;
  readonly #pools = new Map<string, LeasePool>();
  /** Names of leases with a claim in flight. */
  readonly #claiming = new Set<string>();
  readonly #loop: BackgroundLoop;
  #isCordoned = false;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#owner = { kind: "lease", uid: randomUUID(), createdAt: options.wallClock().toISOString() };
    this.#loop = new BackgroundLoop({ pass: () => this.#pass() });
  }

  /** Releases idle leases, with one short attempt. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]();
    await this.#release(
      [...this.#pools.values()].flatMap(pool => pool.removeAll()).map(({ attachment }) => attachment),
    );
  }

  /** Opens or closes the pool of the claim's request, depending on whether its network grants leases. */
  observe(claim: Claim, { nodeLease, port }: PortAttachment): void {
    if (this.#loop.signal.aborted || !this.#options.canUse(claim)) return;
    const request = deriveRequest(claim);
    const pool = this.#pools.get(keyOf(request));
    if (nodeLease !== undefined) this.#open(request, nodeLease);
    else if (pool !== undefined) void this.#release(removeFrom(pool, item => item.network === port.network));
  }

  /** Assigns an address to the claim's pod. Returns undefined if there is none: claim from the IPAM. */
  assign(claim: Claim): AssignedLease | undefined {
    const pool = this.#poolFor(claim);
    const lease = pool?.assign(claim.owner.uid, this.#options.now());
    if (pool === undefined || lease === undefined || claim.name === undefined) return undefined;
    this.#options.metrics.leases.inc({ outcome: "assigned" });
    if (pool.size < pool.terms.low) this.#loop.wake();
    return { leasedPort: lease.port.name, attachment: deriveAssigned(lease, { ...claim, name: claim.name }) };
  }

  /** Reserves an address for the claim's pod. Returns false if there is none. */
  reserve(claim: Claim): boolean {
    return this.#poolFor(claim)?.reserve(claim.owner.uid, this.#options.now()) ?? false;
  }

  /** Call it when the pod is gone. */
  cancelReservation(ownerUid: string): void {
    for (const pool of this.#pools.values()) pool.cancelReservation(ownerUid);
  }

  /** Releases all idle leases of a cordoned node, because it gets no new pods. */
  setCordoned(isCordoned: boolean): void {
    this.#isCordoned = isCordoned;
    this.#loop.wake();
  }

  /** Fills the pools at once, without their backoff. */
  retry(): void {
    for (const pool of this.#pools.values()) pool.fillAt = 0;
    this.#loop.wake();
  }

  /** Yields the idle leases. */
  *ports(): Generator<Port> {
    for (const pool of this.#pools.values()) for (const { attachment } of pool.items()) yield attachment.port;
  }

  /** True if the lease is idle here or is being claimed. */
  isInUse(name: string): boolean {
    return this.#claiming.has(name) || [...this.#pools.values()].some(pool => pool.has(name));
  }

  /** Drops leases that the IPAM has ended. */
  dropWhere(isOver: (port: Port) => boolean): void {
    for (const pool of this.#pools.values()) if (removeFrom(pool, isOver).length > 0) this.#loop.wake();
  }

  #poolFor(claim: Claim): LeasePool | undefined {
    if (this.#pools.size === 0 || this.#loop.signal.aborted || !this.#options.canUse(claim)) return undefined;
    return this.#pools.get(keyOf(deriveRequest(claim)));
  }

  #open(request: LeaseRequest, terms: LeasePool["terms"]): void {
    const pool = this.#pools.get(keyOf(request));
    if (pool !== undefined) pool.terms = terms;
    else if (!this.#isCordoned) {
      this.#pools.set(keyOf(request), new LeasePool(request, terms, this.#options.now()));
      this.#loop.wake();
    }
  }

  /** Resolves with the milliseconds until a pool is due. */
  async #pass(): Promise<number> {
    await Promise.all([...this.#pools].map(([key, pool]) => this.#maintain(key, pool)));
    const nextAt = Math.min(...[...this.#pools.values()].map(pool => pool.nextAt(this.#idleMs)));
    return Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, nextAt - this.#options.now()));
  }

  /** Keeps idle leases while the IPAM is unreachable: no other node could use them. */
  get #idleMs(): number {
    const { ipam, idleMs = IDLE_MS } = this.#options;
    return ipam.isReachable ? idleMs : Number.POSITIVE_INFINITY;
  }

  async #maintain(key: string, pool: LeasePool): Promise<void> {
    const { now } = this.#options;
    if (this.#isCordoned || pool.usedAt + this.#idleMs <= now()) {
      this.#pools.delete(key);
      return this.#release(pool.removeAll().map(({ attachment }) => attachment));
    }
    await this.#release(pool.removeExcess(now()).map(({ attachment }) => attachment));
    const due = [...pool.items()].filter(({ renewAt }) => renewAt <= now());
    await Promise.all(due.map(({ attachment }) => this.#renew(pool, attachment)));
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
    pool.fillAt = now() + deriveRetryDelay(failure, backoffMs * (0.5 + Math.random() / 2));
    log.info({ reason: IpamError.from(failure).message }, "cannot fill the lease pool, retrying");
  }

  /** Ignores the answer if the lease was assigned meanwhile. */
  async #renew(pool: LeasePool, { port }: PortAttachment): Promise<void> {
    const { name, id } = port;
    try {
      const answer = await this.#claim(pool, name, "renewed");
      // The lease became its pod's port first, so that the claim created another lease of this name: release that one. If
      // the lease had ended instead, the new one has replaced it in the pool.
      if (answer.port.id !== id && !pool.has(name)) await this.#release([answer]);
    } catch (error) {
      if (!isFinalRejection(IpamError.from(error))) return pool.postpone(name, this.#options.now());
      this.#options.log.info({ lease: name, reason: IpamError.from(error).message }, "lease not renewed, releasing it");
      const item = pool.remove(name);
      if (item !== undefined) await this.#release([item.attachment]);
    }
  }

  /** Claims or renews a lease. Rejects with IpamError. */
  async #claim(pool: LeasePool, name: string, outcome: "leased" | "renewed"): Promise<PortAttachment> {
    const { ipam, now, metrics, probes } = this.#options;
    const isKnown = pool.has(name);
    const sentAt = now();
    this.#claiming.add(name);
    try {
      const retention = { policy: "ephemeral" } as const;
      const attachment = await ipam.claim({ ...pool.request, name, owner: this.#owner, retention });
      metrics.leases.inc({ outcome });
      if (outcome === "leased") probes.begin(attachment);
      if (attachment.nodeLease !== undefined) pool.terms = attachment.nodeLease;
      // Assigned or dropped since: do not add it again.
      if (isKnown && !pool.has(name)) return attachment;
      if (!pool.put(attachment, sentAt, now())) await this.#release([attachment]);
      return attachment;
    } finally {
      this.#claiming.delete(name);
    }
  }

  /** Never rejects. */
  async #release(leases: readonly PortAttachment[]): Promise<void> {
    if (leases.length === 0) return;
    const { ipam, log, metrics } = this.#options;
    const releases = leases.flatMap(({ port: { name, binding } }) =>
      binding === undefined ? [] : [{ name, host: binding.host, ownerUid: this.#owner.uid }],
    );
    try {
      const results = await ipam.release(releases, BACKGROUND_RELEASE_POLICY);
      metrics.leases.inc({ outcome: "returned" }, results.filter(result => !("problem" in result)).length);
    } catch (error) {
      log.info(
        { leases: releases.length, reason: IpamError.from(error).message },
        "cannot release leases, the next sweep releases them",
      );
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
