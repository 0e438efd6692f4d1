import { randomUUID } from "node:crypto";
import type pg from "pg";
import type { Duty } from "../../../domain/model/leadership.ts";
import { pause, withJitter } from "../../../process/background-loop.ts";
import { close, drop } from "../database/close-connection.ts";
import type { Primary } from "../database/primary.ts";
import { prepare, senderOf } from "../database/statement.ts";

export interface LeadershipTimes {
  /** How long after its last renewal a leader may be replaced, by PostgreSQL's clock. */
  holdMs: number;
  /** How much earlier the leader ends its term, by its own clock from the request on: time for its duty to stop. */
  marginMs: number;
  /** How often the leader renews, and the other replicas check. */
  renewMs: number;
}
export const LEADERSHIP_TIMES: LeadershipTimes = { holdMs: 5000, marginMs: 1000, renewMs: 1000 };

const CHANNEL = "mooring_leadership";

/** Starts a term, or renews one that has not lapsed. $1: the replica, $2: milliseconds, $3: the term to renew, or null. */
const HOLD = prepare(
  `UPDATE leadership SET term = CASE WHEN term = $3::bigint AND until > clock_timestamp() THEN term ELSE term + 1 END,
     holder = $1::uuid, until = clock_timestamp() + $2::int * interval '1 millisecond'
   WHERE holder = $1::uuid OR until <= clock_timestamp() RETURNING term`,
);
/** Ends the term, and notifies the other replicas. */
const LEAVE = prepare(
  `WITH left_over AS (
     UPDATE leadership SET until = clock_timestamp() WHERE holder = $1::uuid AND term = $2::bigint RETURNING term
   ) SELECT pg_notify('${CHANNEL}', term::text) FROM left_over`,
);

/**
 * Runs the duty on the replica that the table `leadership` names. A leader that cannot renew stops before another may
 * start; sessions decide nothing, because the two ends of a broken connection see its end at different times. Renewing is
 * a write, so with synchronous replication a primary that was replaced cannot renew.
 */
export class Leadership implements AsyncDisposable {
  readonly #primary: Primary;
  readonly #duty: Duty;
  readonly #times: LeadershipTimes;
  readonly #id = randomUUID();
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;
  #client: pg.Client | undefined;
  #wake: (() => void) | undefined;

  constructor(primary: Primary, duty: Duty, times: LeadershipTimes) {
    this.#primary = primary;
    this.#duty = duty;
    this.#times = times;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const askedAt = performance.now();
      const held = await this.#hold(null);
      if (typeof held === "number") await this.#serve(held, askedAt);
      else await this.#pause();
    }
    if (this.#client) await close(this.#client);
  }

  /** Runs the duty until the term is not renewed in time, or this replica stops. */
  async #serve(term: number, askedAt: number): Promise<void> {
    const { holdMs, marginMs } = this.#times;
    const over = new AbortController();
    const end = () => over.abort();
    const leftOf = (from: number) => from + holdMs - marginMs - performance.now();
    // The answer took longer than the term, or this replica stops.
    if (leftOf(askedAt) <= 0 || this.#stopping.signal.aborted) return this.#leave(term);
    let lapse = setTimeout(end, leftOf(askedAt));
    this.#stopping.signal.addEventListener("abort", end);
    const running = this.#duty({ number: term, signal: over.signal });
    while (!over.signal.aborted) {
      await this.#pause(over.signal);
      if (over.signal.aborted) break;
      const from = performance.now();
      const held = await this.#hold(term);
      if (held === term) {
        clearTimeout(lapse);
        lapse = setTimeout(end, leftOf(from));
      } else if (held !== "unknown") end();
    }
    clearTimeout(lapse);
    this.#stopping.signal.removeEventListener("abort", end);
    await running;
    await this.#leave(term);
  }

  /** This replica's term, or `another's`; `unknown` if the database did not answer. */
  async #hold(renewed: number | null): Promise<number | "another's" | "unknown"> {
    try {
      const send = senderOf(await this.#connected());
      const [row] = await send<[term: number]>(HOLD, this.#id, this.#times.holdMs, renewed);
      return row ? row[0] : "another's";
    } catch {
      // The next round tries again. The readiness probe reports an unreachable database.
      this.#discard();
      return "unknown";
    }
  }

  /** Without an answer the term lapses by itself. */
  async #leave(term: number): Promise<void> {
    const client = this.#client;
    if (!client) return;
    const late = setTimeout(() => drop(client), this.#times.marginMs);
    await senderOf(client)(LEAVE, this.#id, term).catch(() => this.#discard());
    clearTimeout(late);
  }

  async #connected(): Promise<pg.Client> {
    if (this.#client) return this.#client;
    const { holdMs } = this.#times;
    const client = await this.#primary.connect({ connectMs: holdMs, statementMs: holdMs }, this.#stopping.signal);
    this.#client = client;
    client.on("notification", () => this.#wake?.());
    await client.query(`LISTEN ${CHANNEL}`);
    return client;
  }

  #discard(): void {
    if (this.#client) drop(this.#client);
    this.#client = undefined;
  }

  /** Waits with jitter; a leader that leaves ends the wait. */
  async #pause(signal?: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    const signals = [this.#stopping.signal, woken.signal, ...(signal ? [signal] : [])];
    const ms = withJitter(this.#times.renewMs, 0.5);
    await pause(ms, AbortSignal.any(signals));
  }

  /** Ends the term once the duty has stopped. If it does not stop in time, the term lapses by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    const stopWaiting = new AbortController();
    await Promise.race([this.#running, pause(this.#times.holdMs, stopWaiting.signal)]);
    stopWaiting.abort();
    this.#discard();
  }
}
