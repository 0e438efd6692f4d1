import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { expectSuccess, openLab } from "../lab/lab.ts";

const lab = await openLab();
after(() => lab[Symbol.asyncDispose]());
// Two live sandboxes of one address are the point here, and IPv6 would find them out (drift.test.ts).
const conf = { families: ["ipv4"] };

const CALLS = ["ADD a", "DEL a", "ADD b", "DEL b"] as const;
type Call = (typeof CALLS)[number];

function permute<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap(item => permute(items.filter(other => other !== item)).map(rest => [item, ...rest]));
}

/** The sandbox that was added last has the port, until its own DEL. */
function deriveOwner(made: readonly Call[]): "a" | "b" | undefined {
  let owner: "a" | "b" | undefined;
  for (const call of made) {
    const who = call.endsWith("a") ? "a" : "b";
    if (call.startsWith("ADD")) owner = who;
    else if (owner === who) owner = undefined;
  }
  return owner;
}

describe("ADD and DEL of one pod from two nodes", () => {
  it("gives the port to the last ADD until its own DEL, in every order", async t => {
    for (const [index, order] of permute(CALLS).entries()) {
      await t.test(order.join(", "), async () => {
        const name = `order-${index}`;
        const sandboxes = { a: await lab.runtime.create(name), b: await lab.runtime.create(name) };
        const addresses = new Set<string | undefined>();
        for (const [step, call] of order.entries()) {
          const who = call.endsWith("a") ? "a" : "b";
          const verb = call.startsWith("ADD") ? "add" : "del";
          const result = expectSuccess(await lab.runtime[verb](lab[who], sandboxes[who], conf));
          if (verb === "add") addresses.add(result?.ips?.[0]?.address);
          const [port] = await lab.readPorts(name);
          const owner = deriveOwner(order.slice(0, step + 1));
          assert.equal(port?.binding?.sandbox?.id, owner && sandboxes[owner].containerId, `after ${call}`);
        }
        assert.equal(addresses.size, 1, "one address throughout");
        for (const who of ["a", "b"] as const) {
          expectSuccess(await lab.runtime.del(lab[who], sandboxes[who], conf));
          assert.deepEqual([await lab[who].listPluggedPorts(), await lab[who].listVeths()], [[], []]);
          await sandboxes[who].endpoint.remove();
        }
        const [port] = await lab.readPorts(name);
        assert.equal(port?.binding, undefined);
      });
    }
  });
});
