import type { Logger } from "pino";
import type { Store } from "../domain/store.ts";
import { BackgroundLoop } from "../process/background-loop.ts";

const INTERVAL_MS = 60_000;

/**
 * Lets the store do what time alone makes due, until the signal aborts; the turn that runs then is finished. A failure is
 * logged and tried again with the next turn.
 */
export async function runMaintenance(
  store: Pick<Store, "collectExpired">,
  log: Logger,
  signal: AbortSignal,
  intervalMs = INTERVAL_MS,
): Promise<void> {
  const pass = async () => {
    try {
      const collected = await collectAll(store, signal);
      if (collected > 0) log.info({ collected }, "deleted ports whose retention has ended");
    } catch (error) {
      log.error({ err: error }, "maintenance failed, retrying");
    }
    return intervalMs;
  };
  await new BackgroundLoop({ pass, initialDelayMs: intervalMs, signal }).ended;
}

/** The store collects a piece at a time: callers get their turn between two. */
async function collectAll(store: Pick<Store, "collectExpired">, signal: AbortSignal): Promise<number> {
  for (let collected = 0; ; ) {
    const piece = await store.collectExpired();
    collected += piece;
    if (piece === 0 || signal.aborted) return collected;
    await new Promise(resolve => setImmediate(resolve));
  }
}
