import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pino } from "pino";
import { Delivery, type DeliveryOptions } from "../../../cni/agent/ipam/delivery.ts";
import { HeldPorts } from "../../../cni/agent/ports/held-ports.ts";
import { loadHeld } from "../../../cni/agent/ports/load-held.ts";
import { Fence, type FenceOptions } from "../../../cni/agent/upkeep/fence.ts";
import { ReconcileLoop } from "../../../cni/agent/upkeep/reconcile-loop.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { fakeTime } from "../../fakes/fake-time.ts";
import { Harness } from "./leases/harness.ts";

const log = pino({ level: "silent" });
const metrics = { failures: { inc() {} } };
const nodeName = "node-a";

/** What repeats calls to the IPAM in the background, started with a call that counts and fails. */
const LOOPS: Record<string, (refuse: () => Promise<never>) => AsyncDisposable> = {
  "loading the node's bindings": refuse =>
    loadHeld({ ipam: { readPortsOfHost: refuse }, held: new HeldPorts(), nodeName, log }),
  delivery: refuse =>
    new Delivery({ nodeName, log, metrics, ipam: { isReachable: false, ready: refuse } } as unknown as DeliveryOptions),
  sweeps: refuse =>
    new ReconcileLoop({
      context: {
        log,
        metrics,
        config: {},
        datapath: { ensureBridges: async () => [], identify: async () => undefined },
      } as never,
      sweeper: { sweep: refuse, pendingCount: 0, mayRecover: false },
    }),
  "the fence": refuse =>
    new Fence({
      context: { log, metrics, config: { nodeName, cluster: "c1" }, ipam: { readLastSeq: refuse } },
    } as unknown as FenceOptions),
};

describe("Retry-After of a refused call of the agent", () => {
  for (const [what, start] of Object.entries(LOOPS)) {
    it(`is obeyed by ${what}`, async t => {
      const advance = fakeTime(t);
      let calls = 0;
      await using _ = start(async () => {
        calls++;
        throw new IpamError("overloaded", "too many reads are waiting", { retryAfterSeconds: 30 });
      });
      await advance(29_999);
      assert.equal(calls, 1);
      await advance(15_001);
      assert.equal(calls, 2);
    });
  }

  it("is obeyed by pools of leases", async () => {
    await using harness = new Harness();
    harness.rejection = new IpamError("overloaded", "too many changes are waiting", { retryAfterSeconds: 30 });
    harness.observe();
    await harness.pass();
    assert.equal(harness.claims.length, 4);
    await harness.pass(29_999);
    assert.equal(harness.claims.length, 4);
    await harness.pass(15_001);
    assert.equal(harness.claims.length, 8);
  });
});
