import type { Logger } from "pino";
import type { Store } from "./domain/store.ts";

const INTERVAL_MS = 60_000;

/** Lets the store do what time alone makes due. A failure is logged and tried again with the next turn. */
export function startHousekeeping(store: Store, log: Logger, intervalMs = INTERVAL_MS): AsyncDisposable {
  let running: Promise<void> = Promise.resolve();
  const timer = setInterval(() => {
    running = running
      .then(() => store.collectExpired())
      .then(
        collected => {
          if (collected > 0) log.info({ collected }, "deleted ports whose retention has ended");
        },
        (error: unknown) => log.error({ err: error }, "housekeeping failed"),
      );
  }, intervalMs);
  return {
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      await running;
    },
  };
}
