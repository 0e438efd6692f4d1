import type { Logger } from "pino";
import type { Store } from "./domain/store.ts";

const INTERVAL_MS = 60_000;

/** Lets the store do what time alone makes due. A failure is logged and tried again with the next turn. */
export function startHousekeeping(store: Store, log: Logger, intervalMs = INTERVAL_MS): AsyncDisposable {
  let running: Promise<void> = Promise.resolve();
  let stopped = false;
  const timer = setInterval(() => {
    running = running
      .then(() => collectAll(store, () => stopped))
      .then(
        collected => {
          if (collected > 0) log.info({ collected }, "deleted ports whose retention has ended");
        },
        (error: unknown) => log.error({ err: error }, "housekeeping failed"),
      );
  }, intervalMs);
  return {
    async [Symbol.asyncDispose]() {
      stopped = true;
      clearInterval(timer);
      await running;
    },
  };
}

/** The store collects a piece at a time: callers get their turn between two. */
async function collectAll(store: Store, isOver: () => boolean): Promise<number> {
  for (let collected = 0; ; ) {
    const piece = await store.collectExpired();
    collected += piece;
    if (piece === 0 || isOver()) return collected;
    await new Promise(resolve => setImmediate(resolve));
  }
}
