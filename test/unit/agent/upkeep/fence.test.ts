import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pino } from "pino";
import { KeyedQueue } from "../../../../cni/agent/calls/keyed-queue.ts";
import { HeldPorts } from "../../../../cni/agent/ports/held-ports.ts";
import { Fence, type FenceOptions } from "../../../../cni/agent/upkeep/fence.ts";
import type { LocalPort } from "../../../../cni/agent/upkeep/local-port.ts";
import type { MooringEvent, Port } from "../../../../ipam-server/contract/index.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { boundAhead, event, local, port } from "./local.ts";

/** A fence on node-a, its events and what is plugged as the test says. */
async function startFence() {
  const held = new HeldPorts();
  const queue = new KeyedQueue();
  const plugged: LocalPort[] = [];
  const fenced: string[] = [];
  let looks = 0;
  const { promise: following, resolve: follow } = Promise.withResolvers<(event: MooringEvent) => void>();
  const leased = [boundAhead({ name: "lease:node-a/1" }), boundAhead({ name: "lease:node-a/2" })];
  const context = {
    leases: {
      dropWhere(isOver: (port: Port) => boolean) {
        leased.splice(0, leased.length, ...leased.filter(each => !isOver(each)));
      },
    },
    config: { nodeName: "node-a", cluster: "c1" },
    held,
    queue,
    log: pino({ level: "silent" }),
    metrics: { failures: { inc() {} } },
    ipam: {
      readLastSeq: async () => 0,
      ready: async () => {},
      async followEvents(
        host: string,
        _after: number,
        onEvent: (event: MooringEvent) => void,
        _onError: unknown,
        signal: AbortSignal,
      ) {
        assert.equal(host, "node-a", "the stream of this host alone");
        follow(onEvent);
        await new Promise(resolve => signal.addEventListener("abort", resolve, { once: true }));
      },
    },
  };
  const view = {
    // The index of the last look knows nothing of what was plugged since.
    concerns: () => false,
    read: async () => {
      looks++;
      return [...plugged];
    },
  };
  const fence = new Fence({
    context,
    view,
    changes: { fence: async (each: LocalPort) => fenced.push(each.sandboxId) > 0 },
    onEnded: () => {},
    compare: () => {},
  } as unknown as FenceOptions);
  return { fence, held, leased, queue, plugged, fenced, looks: () => looks, tell: await following };
}

const MOVED = event({ type: "port.moved", epoch: 4, fromHost: "node-a", host: "node-b", ownerUid: "u2" });

describe("Fence", () => {
  it("drops a pre-claim as soon as its binding moves", async () => {
    const { fence, held, tell } = await startFence();
    await using _ = fence;
    held.put("u1", "eth0", { port: boundAhead() });
    tell(event({ type: "port.released", epoch: 2 }));
    tell({ ...MOVED, portId: "another life" });
    assert.ok(held.find("u1", "eth0"), "old events, and those of another life of the port, take nothing");
    tell(MOVED);
    assert.equal(held.find("u1", "eth0"), undefined);
  });

  it("drops only the ended lease when its event is read", async () => {
    const { fence, leased, tell } = await startFence();
    await using _ = fence;
    tell(event({ type: "port.bound", port: "lease:node-a/1", epoch: 3, host: "node-a" }));
    tell(event({ type: "port.deleted", port: "lease:node-a/1", portId: "another life", epoch: 3 }));
    assert.equal(leased.length, 2);
    tell(event({ type: "port.released", port: "lease:node-a/1", epoch: 3, host: "node-a" }));
    assert.deepEqual(
      leased.map(({ name }) => name),
      ["lease:node-a/2"],
    );
  });

  for (const what of ["told to the sandbox's call already", "not yet known here"]) {
    it(`a binding that moves away while its port is plugged, ${what}, is fenced when the call is over`, async () => {
      const { fence, held, queue, plugged, fenced, looks, tell } = await startFence();
      await using _ = fence;
      const { promise: plugging, resolve: finish } = Promise.withResolvers<void>();
      const call = queue.run("s1/eth0", () => plugging);
      if (what !== "not yet known here") held.put("u1", "eth0", { port: port(), sandboxId: "s1" });
      tell(MOVED);
      await waitFor("the event to find nothing plugged", async () => looks() === 1);
      assert.deepEqual(fenced, []);
      plugged.push(local());
      finish();
      await call;
      await waitFor("the port to be fenced", async () => fenced.length > 0);
      assert.deepEqual(fenced, ["s1"]);
    });
  }
});
