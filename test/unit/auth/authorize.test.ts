import assert from "node:assert/strict";
import { test } from "node:test";
import { authorize } from "../../../ipam-server/auth/authorize.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { Action, Role } from "../../../ipam-server/domain/model/caller.ts";

const ACTIONS: Action[] = [
  ...(["claim", "release", "report", "reserve", "deletePort", "writeNetworks", "read", "probe"] as const),
  ...(["copyStore", "fillStore"] as const),
];

/** What each role may do, besides `probe`, which everyone may. */
const MAY: Record<Role, Action[]> = {
  node: ["claim", "release", "report", "read"],
  controller: ["release", "report", "deletePort", "read"],
  provisioner: ["claim", "release", "reserve", "deletePort", "read"],
  reader: ["read"],
  admin: ACTIONS,
};

for (const [role, allowed] of Object.entries(MAY) as [Role, Action[]][]) {
  test(`a ${role} may do its own work and nothing else`, () => {
    for (const action of ACTIONS) {
      const attempt = () => authorize({ name: "someone", roles: [role] }, action);
      if (allowed.includes(action) || action === "probe") attempt();
      else assert.throws(attempt, (error: unknown) => error instanceof IpamError && error.code === "forbidden", action);
    }
  });
}

test("a refusal says who may not do what, and which roles may", () => {
  assert.throws(
    () => authorize({ name: "node-a", roles: ["node"] }, "deletePort"),
    /node-a may not deletePort: it takes one of the roles controller, provisioner, admin/,
  );
});
