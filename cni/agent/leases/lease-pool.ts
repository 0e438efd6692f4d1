import type { NodeLease, PortAttachment } from "../../../ipam-server/contract/index.ts";
import type { LeaseRequest } from "./lease-request.ts";

/** An address that this node may assign to a pod. */
interface LeasedAddress {
  attachment: PortAttachment;
  /** The lease's end by the node's clock. All times here are in milliseconds of `LeasesOptions.now`. */
  endsAt: number;
  renewAt: number;
}

/** Margin for clock drift. */
const MARGIN = 0.02;
/** Early, so that most of the lease is left when an outage begins. */
const RENEW_AFTER = 1 / 3;
/** Of the time between renewal and end, after a renewal that failed. */
const RETRY_AFTER = 1 / 12;

/** The idle leased addresses for one kind of request, and the terms of their network. Pure state, without I/O. */
export class LeasePool {
  readonly request: LeaseRequest;
  /** The newest terms from the IPAM. */
  terms: NodeLease;
  /** When an address was last assigned to a pod, or the pool was created. */
  usedAt: number;
  /** The earliest time of the next fill. */
  fillAt = 0;
  fillFailures = 0;
  readonly #items = new Map<string, LeasedAddress>();
  readonly #reserved = new Set<string>();

  constructor(request: LeaseRequest, terms: NodeLease, now: number) {
    this.request = request;
    this.terms = terms;
    this.usedAt = now;
  }

  get size(): number {
    return this.#items.size;
  }

  items(): IterableIterator<LeasedAddress> {
    return this.#items.values();
  }

  /**
   * Adds or renews a lease that was claimed at `sentAt`. Returns false if it has no end or has already ended. Counts from
   * the time of the request, so that the lease ends on the node before it ends in the IPAM.
   */
  put(attachment: PortAttachment, sentAt: number, now: number): boolean {
    const { name, expiresAt = "", updatedAt } = attachment.port;
    const leaseMs = Date.parse(expiresAt) - Date.parse(updatedAt);
    const endsAt = sentAt + leaseMs * (1 - MARGIN);
    if (!(endsAt > now)) return false;
    this.#items.set(name, { attachment, endsAt, renewAt: sentAt + leaseMs * RENEW_AFTER });
    return true;
  }

  /** Schedules the next renewal after one that failed. */
  postpone(name: string, now: number): void {
    const item = this.#items.get(name);
    if (item !== undefined) item.renewAt = now + (item.endsAt - item.renewAt) * RETRY_AFTER;
  }

  has(name: string): boolean {
    return this.#items.has(name);
  }

  /** Removes and returns the oldest lease that has not ended. */
  assign(ownerUid: string, now: number): PortAttachment | undefined {
    this.#reserved.delete(ownerUid);
    for (const [name, { attachment, endsAt }] of this.#items) {
      if (endsAt <= now) continue;
      this.#items.delete(name);
      this.usedAt = now;
      return attachment;
    }
    return undefined;
  }

  /** Reserves an address for the owner. Returns false if all are reserved. */
  reserve(ownerUid: string, now: number): boolean {
    const good = [...this.#items.values()].filter(({ endsAt }) => endsAt > now).length;
    if (!this.#reserved.has(ownerUid) && good <= this.#reserved.size) return false;
    this.#reserved.add(ownerUid);
    return true;
  }

  cancelReservation(ownerUid: string): void {
    this.#reserved.delete(ownerUid);
  }

  remove(name: string): LeasedAddress | undefined {
    const item = this.#items.get(name);
    this.#items.delete(name);
    return item;
  }

  /** Removes and returns leases that have ended or exceed the terms. */
  removeExcess(now: number): LeasedAddress[] {
    const ended = [...this.#items.values()].filter(({ endsAt }) => endsAt <= now);
    for (const { attachment } of ended) this.#items.delete(attachment.port.name);
    const beyond = [...this.#items.values()].slice(0, Math.max(0, this.#items.size - this.terms.size));
    for (const { attachment } of beyond) this.#items.delete(attachment.port.name);
    return [...ended, ...beyond];
  }

  removeAll(): LeasedAddress[] {
    const items = [...this.#items.values()];
    this.#items.clear();
    return items;
  }

  /** Returns the number of leases to claim now. */
  shortfall(now: number): number {
    return this.#items.size < this.terms.low && now >= this.fillAt ? this.terms.size - this.#items.size : 0;
  }

  /** Returns the time of the next renewal, end, fill or idle check. */
  nextAt(idleMs: number): number {
    const times = [...this.#items.values()].flatMap(({ endsAt, renewAt }) => [endsAt, renewAt]);
    if (this.#items.size < this.terms.low) times.push(this.fillAt);
    return Math.min(this.usedAt + idleMs, ...times);
  }
}
