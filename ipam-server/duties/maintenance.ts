import type { Logger } from "pino";
import { SERVER_CALLER } from "../domain/model/caller.ts";
import type { Store } from "../domain/store.ts";
import { BackgroundLoop } from "../process/background-loop.ts";

const INTERVAL_MS = 60_000;
/** A smaller difference between the clocks is NTP's slewing, or a pass that was late. */
const LEAST_JUMP_MS = 2_000;

export interface MaintenanceOptions {
  intervalMs?: number;
  /** Milliseconds of the wall clock, and of one that nothing sets. */
  wallClock?(): number;
  monotonicClock?(): number;
  onClockJump?(): void;
}

/**
 * Deletes expired ports periodically until the signal aborts, then finishes the running pass. Logs a failure and retries
 * at the next pass.
 */
export async function runMaintenance(
  store: Pick<Store, "collectExpired" | "changeRecovery">,
  log: Logger,
  signal: AbortSignal,
  options: MaintenanceOptions = {},
): Promise<void> {
  const { intervalMs = INTERVAL_MS, wallClock = Date.now, monotonicClock = () => performance.now() } = options;
  const readAhead = () => wallClock() - monotonicClock();
  let ahead = readAhead();
  let isFirst = true;
  const pass = async () => {
    const jumpMs = Math.round(readAhead() - ahead);
    const hasJumped = Math.abs(jumpMs) >= LEAST_JUMP_MS;
    if (hasJumped) {
      options.onClockJump?.();
      log.warn({ jumpMs }, "the wall clock jumped; kept ports, leases and freed addresses wait on as before");
    }
    try {
      await store.changeRecovery({ kind: "check" }, SERVER_CALLER);
      let collected = await store.collectExpired(hasJumped ? jumpMs : isFirst ? 0 : undefined);
      isFirst = false;
      if (hasJumped) ahead += jumpMs;
      if (collected > 0) collected += await collectAll(store, signal);
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
