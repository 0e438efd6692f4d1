import type { NodeLease, PortAttachment } from "../../../ipam-server/contract/index.ts";
import type { LeaseRequest } from "./lease-request.ts";

/** An address that this node may give to a pod. */
export interface LeasedAddress {
  attachment: PortAttachment;
  /** From here on it may not. By the node's own clock, as all times here: milliseconds, whatever they begin at. */
  endsAt: number;
  renewAt: number;
}

/** No clock counts quite as another does. */
const MARGIN = 0.02;
/** A network's outage shall find most of the time left. */
const PROLONG_AFTER = 1 / 3;
/** A lease that was to be prolonged and could not be. */
const RETRY_AFTER = 1 / 12;

/** The addresses that this node is leased for pods that ask in one way, and the terms. Does nothing by itself. */
export class LeasePool {
  readonly request: LeaseRequest;
  /** As the network last said. */
  terms: NodeLease;
  /** When an address was given to a pod last; at first when the pool was made. */
  usedAt: number;
  /** More is not asked for before. */
  fillAt = 0;
  fillFailures = 0;
  readonly #items = new Map<string, LeasedAddress>();
  readonly #promised = new Set<string>();

  constructor(wish: LeaseRequest, terms: NodeLease, now: number) {
    this.request = wish;
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
   * What the IPAM answered to a claim sent at `sentAt`: false when it tells no end, or one that is here already. The time
   * is counted from before the request left, so that the node's lease ends before the IPAM's does.
   */
  put(attachment: PortAttachment, sentAt: number, now: number): boolean {
    const { name, expiresAt = "", updatedAt } = attachment.port;
    const leaseMs = Date.parse(expiresAt) - Date.parse(updatedAt);
    const endsAt = sentAt + leaseMs * (1 - MARGIN);
    if (!(endsAt > now)) return false;
    this.#items.set(name, { attachment, endsAt, renewAt: sentAt + leaseMs * PROLONG_AFTER });
    return true;
  }

  /** It could not be prolonged now. */
  postpone(name: string, now: number): void {
    const item = this.#items.get(name);
    if (item !== undefined) item.renewAt = now + (item.endsAt - item.renewAt) * RETRY_AFTER;
  }

  has(name: string): boolean {
    return this.#items.has(name);
  }

  /** The oldest lease that has not ended. */
  assign(ownerUid: string, now: number): PortAttachment | undefined {
    this.#promised.delete(ownerUid);
    for (const [name, { attachment, endsAt }] of this.#items) {
      if (endsAt <= now) continue;
      this.#items.delete(name);
      this.usedAt = now;
      return attachment;
    }
    return undefined;
  }

  /** Whether there is one for this owner beside those promised before. */
  reserve(ownerUid: string, now: number): boolean {
    const good = [...this.#items.values()].filter(({ endsAt }) => endsAt > now).length;
    if (!this.#promised.has(ownerUid) && good <= this.#promised.size) return false;
    this.#promised.add(ownerUid);
    return true;
  }

  cancelReservation(ownerUid: string): void {
    this.#promised.delete(ownerUid);
  }

  remove(name: string): LeasedAddress | undefined {
    const item = this.#items.get(name);
    this.#items.delete(name);
    return item;
  }

  /** Takes out what is over, or beyond what a node shall hold. */
  removeUnfit(now: number): LeasedAddress[] {
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

  /** How many to ask for now. */
  shortfall(now: number): number {
    return this.#items.size < this.terms.low && now >= this.fillAt ? this.terms.size - this.#items.size : 0;
  }

  /** When something is to be done next, not counting what is to be done now. */
  nextAt(idleMs: number): number {
    const times = [...this.#items.values()].flatMap(({ endsAt, renewAt }) => [endsAt, renewAt]);
    if (this.#items.size < this.terms.low) times.push(this.fillAt);
    return Math.min(this.usedAt + idleMs, ...times);
  }
}
