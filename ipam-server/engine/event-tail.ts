import type { EventQuery, MooringEvent } from "../contract/index.ts";
import type { Store } from "../domain/store.ts";
import { ReadQueue } from "./read-queue.ts";

/** Events kept in memory for streams that are nearly up to date. */
const CAPACITY = 10_000;
const PAGE = 1000;
/** The page of a stream that lags: these events are in memory for it alone until it has sent them. */
const OWN_PAGE = 200;
const NO_DEADLINE = { timeoutMs: Number.POSITIVE_INFINITY, isGone: () => false };

interface Waiter {
  query: EventQuery;
  /** `upTo`: no event up to this number matches. */
  wake(upTo: number): void;
}

interface EventPage {
  events: MooringEvent[];
  /** The last sequence number that was scanned. */
  upTo: number;
  /** Some events up to this number are no longer kept. */
  gapUpTo?: number | undefined;
}

/**
 * Caches the newest events, so that a commit costs one read for any number of streams, and wakes only the streams that
 * match. Streams that lag behind the cache read pages from the store until they have caught up.
 */
export class EventTail implements Disposable {
  readonly #store: Pick<Store, "readEvents" | "onEvents">;
  readonly #unsubscribe: () => void;
  /** One lagging stream at a time reads from the store, so that claims are not delayed. */
  readonly #pageReads = new ReadQueue({ concurrency: 1, maxWaiting: Number.POSITIVE_INFINITY });
  readonly #ofHost = new Map<string, Set<Waiter>>();
  readonly #ofAllHosts = new Set<Waiter>();
  /** All events after #from up to #upTo, ascending. */
  #events: MooringEvent[] = [];
  #from = 0;
  #upTo = -1;
  #newest = 0;
  #refilling: Promise<void> | undefined;
  /** Every waiter was woken for the matching events up to this number. */
  #deliveredSeq = -1;
  #isNotifying = false;

  constructor(store: Pick<Store, "readEvents" | "onEvents">) {
    this.#store = store;
    this.#unsubscribe = store.onEvents(lastSeq => {
      this.#newest = lastSeq;
      this.#notify();
    });
  }

  /** Returns the matching events after a sequence number, a page at most. */
  async read(after: number, query: EventQuery): Promise<EventPage> {
    if (this.#upTo < 0) await this.#begin();
    await this.#refill();
    if (after < this.#from) return this.#readPage(after, query);
    const events: MooringEvent[] = [];
    for (let i = this.#indexAfter(after); i < this.#events.length; i++) {
      const event = this.#events[i];
      if (event === undefined || !matches(query, event)) continue;
      events.push(event);
      if (events.length === PAGE) return { events, upTo: event.seq };
    }
    return { events, upTo: Math.max(after, this.#upTo) };
  }

  async #readPage(after: number, query: EventQuery): Promise<EventPage> {
    const page = () => this.#store.readEvents({ ...query, after, limit: OWN_PAGE });
    const { events, lastSeq, oldestSeq, nextAfter } = await this.#pageReads.run(page, NO_DEADLINE);
    const gapUpTo = after + 1 < oldestSeq ? oldestSeq - 1 : undefined;
    // Events before the gap are skipped: the reader compares everything anyway.
    const from = gapUpTo ?? after;
    return { events: events.filter(({ seq }) => seq > from), gapUpTo, upTo: Math.max(from, nextAfter ?? lastSeq) };
  }

  /**
   * Resolves when matching events after `after` may exist, on timeout or on abort, with the number up to which none
   * matches: `after` or greater.
   */
  wait(after: number, query: EventQuery, timeoutMs: number, signal: AbortSignal): Promise<number> {
    if (signal.aborted || this.#mayHaveMissed(after, query)) return Promise.resolve(after);
    return new Promise(resolve => {
      const waiters = this.#waitersLike(query);
      const end = (upTo: number) => {
        clearTimeout(timer);
        waiters.delete(waiter);
        if (waiters.size === 0 && query.host !== undefined) this.#ofHost.delete(query.host);
        signal.removeEventListener("abort", abort);
        resolve(Math.max(after, upTo));
      };
      const abort = () => end(after);
      const timer = setTimeout(() => end(this.#deliveredSeq), timeoutMs);
      const waiter: Waiter = { query, wake: end };
      waiters.add(waiter);
      signal.addEventListener("abort", abort);
      this.#notify();
    });
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    this.#wakeAll(-1);
  }

  /** True if a matching event after `after` was delivered before this reader began to wait. */
  #mayHaveMissed(after: number, query: EventQuery): boolean {
    if (after >= this.#deliveredSeq) return false;
    if (after < this.#from) return true;
    for (let i = this.#indexAfter(after); i < this.#events.length; i++) {
      const event = this.#events[i];
      if (event !== undefined && matches(query, event)) return true;
    }
    return false;
  }

  #waitersLike({ host }: EventQuery): Set<Waiter> {
    if (host === undefined) return this.#ofAllHosts;
    const known = this.#ofHost.get(host) ?? new Set();
    this.#ofHost.set(host, known);
    return known;
  }

  /** Starts delivery of new events if any reader waits. */
  #notify(): void {
    if (!this.#isNotifying && this.#ofHost.size + this.#ofAllHosts.size > 0) void this.#notifyAll();
  }

  async #notifyAll(): Promise<void> {
    this.#isNotifying = true;
    try {
      for (let before = -2; before < this.#deliveredSeq && this.#deliveredSeq < this.#newest; ) {
        before = this.#deliveredSeq;
        if (this.#upTo < 0) await this.#begin();
        await this.#refill();
        this.#notifyAfter(before);
      }
    } catch {
      // The readers' own reads report the failure.
      this.#wakeAll(-1);
    } finally {
      // In the same turn as the last comparison, so that no event can arrive in between.
      this.#isNotifying = false;
    }
  }

  #notifyAfter(before: number): void {
    this.#deliveredSeq = this.#upTo;
    // Some of these events were never cached.
    if (before < this.#from) this.#wakeAll(before);
    for (let i = this.#indexAfter(before); i < this.#events.length; i++) {
      const event = this.#events[i];
      if (event === undefined) continue;
      const { host = "", fromHost = host } = event;
      wake(this.#ofAllHosts, event);
      wake(this.#ofHost.get(host), event);
      if (fromHost !== host) wake(this.#ofHost.get(fromHost), event);
    }
  }

  #wakeAll(upTo: number): void {
    for (const waiter of [...this.#ofAllHosts, ...[...this.#ofHost.values()].flatMap(each => [...each])])
      waiter.wake(upTo);
  }

  async #begin(): Promise<void> {
    const { lastSeq } = await this.#store.readEvents({ limit: 1 });
    if (this.#upTo >= 0) return;
    this.#from = this.#upTo = lastSeq;
    this.#newest = Math.max(this.#newest, lastSeq);
  }

  /** Reads new events once for all streams that ask at the same time. */
  async #refill(): Promise<void> {
    for (let before = -1; before < this.#upTo && this.#upTo < this.#newest; ) {
      before = this.#upTo;
      this.#refilling ??= this.#readNewer().finally(() => {
        this.#refilling = undefined;
      });
      await this.#refilling;
    }
  }

  async #readNewer(): Promise<void> {
    const { events, lastSeq, oldestSeq, nextAfter } = await this.#store.readEvents({ after: this.#upTo, limit: PAGE });
    if (oldestSeq > this.#upTo + 1) {
      // Events were deleted before any stream read them: the cache starts after them.
      this.#events = [];
      this.#from = oldestSeq - 1;
    }
    this.#upTo = Math.max(nextAfter ?? lastSeq, this.#upTo);
    this.#events.push(...events);
    if (this.#events.length <= CAPACITY) return;
    const dropped = this.#events.splice(0, this.#events.length - CAPACITY / 2);
    this.#from = dropped.at(-1)?.seq ?? this.#from;
  }

  #indexAfter(after: number): number {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle]?.seq ?? 0) <= after) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function wake(waiters: Iterable<Waiter> | undefined, event: MooringEvent): void {
  for (const waiter of waiters ?? []) if (matches(waiter.query, event)) waiter.wake(event.seq - 1);
}

/** The store's filter, for cached events. A host also sees ports that moved away from it. */
export function matches({ host, type, port, ip, mac }: EventQuery, event: MooringEvent): boolean {
  if (host !== undefined && event.host !== host && event.fromHost !== host) return false;
  if (type !== undefined && !type.some(each => each === event.type)) return false;
  if (port !== undefined && event.port !== port) return false;
  if (mac !== undefined && event.mac !== mac) return false;
  return ip === undefined || (event.addresses?.includes(ip) ?? false);
}
