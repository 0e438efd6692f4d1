import type { RecoveryState } from "../../../domain/recovery/recovery-state.ts";
import { type Bound, prepare } from "../database/statement.ts";

const SET = prepare("UPDATE catalog_state SET recovery = $1");

/** `CatalogState` has what is stored. */
export function writeRecovery(state: RecoveryState | undefined): Bound {
  return { statement: SET, values: [state ? JSON.stringify(state) : null] };
}
