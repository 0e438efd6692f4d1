import type { Logger } from "pino";
import { SERVER_CALLER } from "../domain/model/caller.ts";
import type { Store } from "../domain/store.ts";
import { BackgroundLoop } from "../process/background-loop.ts";

const INTERVAL_MS = 60_000;

/**
 * Deletes expired ports periodically until the signal aborts, then finishes the running pass. Logs a failure and retries
 * at the next pass.
 */
export async function runMaintenance(
  store: Pick<Store, "collectExpired" | "changeRecovery">,
  log: Logger,
  signal: AbortSignal,
  intervalMs = INTERVAL_MS,
): Promise<void> {
  const pass = async () => {
    try {
      await store.changeRecovery({ kind: "check" }, SERVER_CALLER);
      const collected = await collectAll(store, signal);
      if (collected > 0) log.info({ collected }, "deleted ports whose retention has ended");
    } catch (error) {
      log.error({ err: error }, "maintenance failed, retrying");
    }
    return intervalMs;
  };
  await new BackgroundLoop({ pass, initialDelayMs: intervalMs, signal }).ended;
}

/** Yields to callers between the batches that the store deletes. */
async function collectAll(store: Pick<Store, "collectExpired">, signal: AbortSignal): Promise<number> {
  for (let collected = 0; ; ) {
    const deleted = await store.collectExpired();
    collected += deleted;
    if (deleted === 0 || signal.aborted) return collected;
    await new Promise(resolve => setImmediate(resolve));
  }
}
