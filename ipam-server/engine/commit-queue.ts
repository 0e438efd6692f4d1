import { setTimeout as delay } from "node:timers/promises";
import { IpamError } from "../contract/index.ts";
import type { Mutation, Outcome } from "../domain/model/mutation.ts";
import type { Store } from "../domain/store.ts";

interface CommitQueueOptions {
  /** Items that may wait; past it callers get `overloaded`. */
  maxQueue: number;
  /** Items of one commit. A request is never split, so a commit may exceed this by part of one request. */
  batchSize?: number;
  /** Called after every commit, for the metrics. */
  onCommit?(items: number, milliseconds: number): void;
  /** Reads the requests that have arrived before a batch is closed. Default: one turn of the event loop. */
  drainPendingConnections?(): Promise<void>;
  /** Milliseconds on a clock that never jumps. */
  now?(): number;
}

interface Job {
  mutations: readonly Mutation[];
  /** On the `now` clock; Infinity without a deadline. */
  deadline: number;
  resolve(outcomes: Outcome[]): void;
  reject(error: IpamError): void;
}

/** The share of every commit that reports may use, so that a flood of claims cannot starve them. */
const REPORT_SHARE = 0.1;

const FINISH_MS = 2000;

/**
 * Commits the mutations of all requests together, because a commit of any size costs one fsync. A batch is what
 * arrived during one turn of the event loop or during the last commit: batches grow with the load, and a lone claim
 * is committed at once.
 */
export class CommitQueue implements AsyncDisposable {
  readonly #store: Pick<Store, "commit">;
  readonly #options: Required<Pick<CommitQueueOptions, "maxQueue" | "batchSize" | "now" | "drainPendingConnections">> &
    CommitQueueOptions;
  readonly #urgent: Job[] = [];
  readonly #reports: Job[] = [];
  #waiting = 0;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(store: Pick<Store, "commit">, options: CommitQueueOptions) {
    this.#store = store;
    this.#options = { batchSize: 400, now: () => performance.now(), drainPendingConnections: nextTurn, ...options };
  }

  /** Items that wait for a commit. */
  get depth(): number {
    return this.#waiting;
  }

  /**
   * Resolves with the outcomes in order, once they are durable. All mutations are decided in one commit.
   * Rejects with `overloaded`, with `unavailable` when the deadline passes before the decision or the server stops,
   * and with the store's own error when the commit failed; in each case nothing was applied.
   */
  submit(mutations: readonly Mutation[], timeoutMs = Number.POSITIVE_INFINITY): Promise<Outcome[]> {
    if (mutations.length === 0) return Promise.resolve([]);
    if (this.#closed) return Promise.reject(stopping());
    const { maxQueue, now } = this.#options;
    if (this.#waiting > 0 && this.#waiting + mutations.length > maxQueue) {
      const detail = `${this.#waiting} changes are waiting (--max-queue ${maxQueue}); try again in a second`;
      return Promise.reject(new IpamError("overloaded", detail, { retryAfterSeconds: 1 }));
    }
    return new Promise((resolve, reject) => {
      const queue = mutations[0]?.kind === "report" ? this.#reports : this.#urgent;
      queue.push({ mutations, deadline: now() + timeoutMs, resolve, reject });
      this.#waiting += mutations.length;
      this.#running ??= this.#run();
    });
  }

  /**
   * Waits for the running commit, for FINISH_MS at most: the store aborts a longer one. Rejects waiting requests with
   * `unavailable`.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const job of [...this.#urgent.splice(0), ...this.#reports.splice(0)]) job.reject(stopping());
    this.#waiting = 0;
    const deadline = new AbortController();
    const late = delay(FINISH_MS, undefined, { signal: deadline.signal }).catch(() => {});
    await Promise.race([this.#running, late]);
    deadline.abort();
  }

  async #run(): Promise<void> {
    // The rest of this turn's requests join the first batch.
    await this.#options.drainPendingConnections();
    while (this.#waiting > 0) {
      const { urgent, reports, size } = this.#take();
      await this.#commit([...urgent, ...reports], size);
      // Send the answers and read the requests that arrived meanwhile before the next batch is closed.
      await this.#options.drainPendingConnections();
    }
    this.#running = undefined;
  }

  /** Claims, releases and reservations in order of arrival, then reports. */
  #take(): { urgent: Job[]; reports: Job[]; size: number } {
    const { batchSize } = this.#options;
    const urgent = this.#takeFrom(this.#urgent, batchSize);
    const room = Math.max(batchSize - urgent.size, Math.ceil(batchSize * REPORT_SHARE));
    const reports = this.#takeFrom(this.#reports, room);
    return { urgent: urgent.jobs, reports: reports.jobs, size: urgent.size + reports.size };
  }

  #takeFrom(queue: Job[], room: number): { jobs: Job[]; size: number } {
    const now = this.#options.now();
    const jobs: Job[] = [];
    let size = 0;
    let taken = 0;
    for (const job of queue) {
      if (size >= room) break;
      taken++;
      this.#waiting -= job.mutations.length;
      if (job.deadline <= now) {
        job.reject(
          new IpamError("unavailable", "your deadline passed before the change was decided; nothing was done"),
        );
        continue;
      }
      jobs.push(job);
      size += job.mutations.length;
    }
    queue.splice(0, taken);
    return { jobs, size };
  }

  async #commit(jobs: readonly Job[], size: number): Promise<void> {
    if (jobs.length === 0) return;
    const { now, onCommit } = this.#options;
    const startedAt = now();
    let failure: IpamError | undefined;
    try {
      const outcomes = await this.#store.commit(jobs.flatMap(job => job.mutations));
      if (outcomes.length !== size) throw new Error(`the store gave ${outcomes.length} outcomes for ${size} mutations`);
      let from = 0;
      for (const job of jobs) {
        const to = from + job.mutations.length;
        job.resolve(outcomes.slice(from, to));
        from = to;
      }
    } catch (error) {
      failure = IpamError.from(error);
    }
    onCommit?.(size, now() - startedAt);
    if (!failure) return;
    // One request that meets a fault in the program must not fail the others: half of them at a time, down to that one.
    if (failure.code === "internal" && jobs.length > 1) {
      const middle = Math.ceil(jobs.length / 2);
      for (const half of [jobs.slice(0, middle), jobs.slice(middle)]) {
        await this.#commit(
          half,
          half.reduce((sum, { mutations }) => sum + mutations.length, 0),
        );
      }
      return;
    }
    for (const job of jobs) job.reject(failure);
  }
}

const stopping = (): IpamError =>
  new IpamError("unavailable", "the server is stopping; try another server, or try again later");
const nextTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve));
