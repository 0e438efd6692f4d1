import { randomUUID } from "node:crypto";
import type pg from "pg";
import type { Duty } from "../../../domain/model/leadership.ts";
import { pause, withJitter } from "../../../process/background-loop.ts";
import { close, drop } from "../database/close-connection.ts";
import type { Primary } from "../database/primary.ts";
import { prepare, senderOf } from "../database/statement.ts";

export interface LeadershipTimes {
  /** So long after its last renewal a leader may be replaced, by PostgreSQL's clock. */
  holdMs: number;
  /** So much earlier, and by its own clock from the moment it asked, the leader's term ends: time for its duty to stop. */
  marginMs: number;
  /** How often the leader renews, and the others look. */
  renewMs: number;
}
export const LEADERSHIP_TIMES: LeadershipTimes = { holdMs: 5000, marginMs: 1000, renewMs: 1000 };

const CHANNEL = "mooring_leadership";

/** Begins a term, or goes on with one that has not lapsed. $1: who, $2: for how many milliseconds, $3: the term that goes on, if any. */
const HOLD = prepare(
  `UPDATE leadership SET term = CASE WHEN term = $3::bigint AND until > clock_timestamp() THEN term ELSE term + 1 END,
     holder = $1::uuid, until = clock_timestamp() + $2::int * interval '1 millisecond'
   WHERE holder = $1::uuid OR until <= clock_timestamp() RETURNING term`,
);
/** The others hear of it at once. */
const LEAVE = prepare(
  `WITH left_over AS (
     UPDATE leadership SET until = clock_timestamp() WHERE holder = $1::uuid AND term = $2::bigint RETURNING term
   ) SELECT pg_notify('${CHANNEL}', term::text) FROM left_over`,
);

/**
 * One replica at a time is named in the table `leadership`, and runs the duty meanwhile. A leader that cannot
 * renew stops before another may start: neither waits for the other, and no session's end, which the two ends of a
 * broken connection see at different times, decides anything. Renewing is a change, so that a primary which a standby has
 * replaced without its knowledge renews for nobody where replication is synchronous.
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

  /** Until the term is not renewed in time, or this replica stops. */
  async #serve(term: number, askedAt: number): Promise<void> {
    const { holdMs, marginMs } = this.#times;
    const over = new AbortController();
    const end = () => over.abort();
    const leftOf = (from: number) => from + holdMs - marginMs - performance.now();
    // The answer took so long that there is nothing left of the term, or this replica stops.
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

  /** The term that this replica has now, or that another has one; `unknown`: the database did not answer. */
  async #hold(goingOn: number | null): Promise<number | "another's" | "unknown"> {
    try {
      const send = senderOf(await this.#connected());
      const [row] = await send<[term: number]>(HOLD, this.#id, this.#times.holdMs, goingOn);
      return row ? row[0] : "another's";
    } catch {
      // Tried again at the next turn; readiness tells of a database that is away.
      this.#forget();
      return "unknown";
    }
  }

  /** Where the answer does not come, the term lapses by itself. */
  async #leave(term: number): Promise<void> {
    const client = this.#client;
    if (!client) return;
    const late = setTimeout(() => drop(client), this.#times.marginMs);
    await senderOf(client)(LEAVE, this.#id, term).catch(() => this.#forget());
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

  #forget(): void {
    if (this.#client) drop(this.#client);
    this.#client = undefined;
  }

  /** Shorter when a leader leaves. Replicas that started together do not ask together. */
  async #pause(signal?: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    const signals = [this.#stopping.signal, woken.signal, ...(signal ? [signal] : [])];
    const ms = withJitter(this.#times.renewMs, 0.5);
    await pause(ms, AbortSignal.any(signals));
  }

  /** Hands over, once the duty has stopped. Where it does not stop soon, the term lapses by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    const patience = new AbortController();
    await Promise.race([this.#running, pause(this.#times.holdMs, patience.signal)]);
    patience.abort();
    this.#forget();
  }
}
