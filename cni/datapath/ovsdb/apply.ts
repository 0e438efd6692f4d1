import type { Deadline } from "../deadline.ts";
import type { Operation, OvsdbClient } from "./client.ts";
import { waitForConfigured } from "./ports.ts";
import { readInteger } from "./value.ts";

/** Runs the operations in one transaction; resolves when ovs-vswitchd has applied it (`cur_cfg` reached `next_cfg`). */
export async function applyOperations(ovsdb: OvsdbClient, operations: Operation[], deadline: Deadline): Promise<void> {
  const results = await ovsdb.transact(
    [
      ...operations,
      { op: "mutate", table: "Open_vSwitch", where: [], mutations: [["next_cfg", "+=", 1]] },
      { op: "select", table: "Open_vSwitch", where: [], columns: ["next_cfg"] },
    ],
    deadline,
  );
  const [row = {}] = results.at(operations.length + 1)?.rows ?? [];
  await waitForConfigured(ovsdb, readInteger(row, "next_cfg") ?? 0, deadline);
}
