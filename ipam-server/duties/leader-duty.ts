import type { Logger } from "pino";
import type { Duty } from "../domain/model/leadership.ts";
import type { Store } from "../domain/store.ts";
import { runMaintenance } from "./maintenance.ts";

/** The periodic work of the leader. Calls `onTerm` with each term's number, and with undefined at its end. */
export function leaderDuty(store: Store, log: Logger, onTerm: (term: number | undefined) => void): Duty {
  return async ({ number, signal }) => {
    log.info({ term: number }, "became leader");
    onTerm(number);
    try {
      await runMaintenance(store, log, signal);
    } finally {
      onTerm(undefined);
      log.info({ term: number }, "lost leadership");
    }
  };
}
