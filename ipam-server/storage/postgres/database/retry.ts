import { setTimeout as delay } from "node:timers/promises";
import { remedyOf, toIpamError } from "./errors.ts";

const FIRST_WAIT_MS = 5;
const LONGEST_WAIT_MS = 400;

interface RetryOptions {
  /** Rejects after this long, but always retries once: a silently dropped connection is detected late. */
  durationMs: number;
  /** For messages. */
  name: string;
  signal: AbortSignal;
}

/**
 * Runs the work, and retries failures that PostgreSQL reports as transient (`errors.ts`). The waits grow and have jitter, so
 * that conflicting replicas do not conflict again. Rejects with IpamError.
 */
export async function retry<T>(work: () => Promise<T>, { durationMs, name, signal }: RetryOptions): Promise<T> {
  const deadline = performance.now() + durationMs;
  for (let attempt = 1, wait = FIRST_WAIT_MS; ; attempt++, wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    try {
      return await work();
    } catch (error) {
      const pause = wait * (0.5 + Math.random());
      const over = attempt > 1 && performance.now() + pause > deadline;
      if (over || signal.aborted || remedyOf(error) === "none") throw toIpamError(error, name);
      await delay(pause, undefined, { signal }).catch(() => {});
    }
  }
}
