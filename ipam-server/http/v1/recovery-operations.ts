import type { RecoveryChange } from "../../domain/recovery/change-recovery.ts";
import { toRecovery } from "../../domain/recovery/recovery-state.ts";
import type { Store } from "../../domain/store.ts";
import { type Operation, operation } from "../operation.ts";
import * as requests from "./schema/requests.ts";
import * as responses from "./schema/responses.ts";

const PATH = "/v1/recovery";
const answer = { 200: { about: "What is left of the recovery", schema: responses.recovery } };

/** The recovery after a restore: what agents report, and what people see and decide. */
export function recoveryOperations(store: Pick<Store, "changeRecovery">): Operation[] {
  const changed = async (change: RecoveryChange, caller: string) => ({
    status: 200,
    json: toRecovery(await store.changeRecovery(change, caller)),
  });
  return [
    operation({
      method: "GET",
      path: PATH,
      id: "getRecovery",
      summary: "Whether the IPAM waits, after a restore, for hosts to report what they have plugged",
      action: "read",
      read: "short",
      responses: answer,
      handle: ({ caller }) => changed({ kind: "check" }, caller.name),
    }),
    operation({
      method: "POST",
      path: `${PATH}/reports`,
      id: "reportRecovery",
      summary: "Report how many interfaces of a host are not claimed yet; with 0 it is no longer waited for",
      action: "report",
      body: requests.recoveryReport,
      responses: answer,
      handle: ({ body, caller }) => changed({ kind: "report", report: body }, caller.name),
    }),
    operation({
      method: "DELETE",
      path: PATH,
      id: "endRecovery",
      summary: "End the recovery without the reports that are missing",
      action: "manageClusters",
      responses: answer,
      handle: ({ caller }) => changed({ kind: "end" }, caller.name),
    }),
  ];
}
