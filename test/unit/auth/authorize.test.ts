import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { authorize } from "../../../ipam-server/auth/authorize.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { Action, Role } from "../../../ipam-server/domain/model/caller.ts";

const ACTIONS: Action[] = [
  ...(["claim", "release", "report", "reserve", "deletePort", "writeNetworks", "read", "probe"] as const),
  ...(["copyStore", "fillStore", "registerCluster", "manageClusters"] as const),
];

/** The operations of each role, in addition to `probe`, which every role may use. */
const MAY: Record<Role, Action[]> = {
  node: ["claim", "release", "report", "read", "registerCluster"],
  controller: ["release", "report", "deletePort", "read", "registerCluster"],
  provisioner: ["claim", "release", "reserve", "deletePort", "read"],
  reader: ["read"],
  admin: ACTIONS,
};

describe("authorize", () => {
  for (const [role, allowed] of Object.entries(MAY) as [Role, Action[]][]) {
    it(`allows a ${role} its own operations and rejects all others`, () => {
      for (const action of ACTIONS) {
        const attempt = () => authorize({ name: "someone", roles: [role] }, action);
        if (allowed.includes(action) || action === "probe") attempt();
        else
          assert.throws(attempt, (error: unknown) => error instanceof IpamError && error.code === "forbidden", action);
      }
    });
  }

  it("names the caller, the operation and the roles that may when it rejects", () => {
    assert.throws(
      () => authorize({ name: "node-a", roles: ["node"] }, "deletePort"),
      /node-a may not deletePort: it takes one of the roles controller, provisioner, admin/,
    );
  });
});
