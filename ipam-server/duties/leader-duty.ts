import type { Logger } from "pino";
import type { Duty } from "../domain/model/leadership.ts";
import type { Store } from "../domain/store.ts";
import { runMaintenance } from "./maintenance.ts";

interface LeaderObserver {
  /** Called with each term's number, and with undefined at its end. */
  onTerm(term: number | undefined): void;
  onClockJump(): void;
}

/** The periodic work of the leader. */
export function leaderDuty(store: Store, log: Logger, { onTerm, onClockJump }: LeaderObserver): Duty {
  return async ({ number, signal }) => {
    log.info({ term: number }, "became leader");
    onTerm(number);
    try {
      await runMaintenance(store, log, signal, { onClockJump });
    } finally {
      onTerm(undefined);
      log.info({ term: number }, "lost leadership");
    }
  };
}
