import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pino } from "pino";
import { KeyedQueue } from "../../../../cni/agent/calls/keyed-queue.ts";
import { HeldPorts } from "../../../../cni/agent/ports/held-ports.ts";
import { Fence, type FenceOptions } from "../../../../cni/agent/upkeep/fence.ts";
import type { LocalPort } from "../../../../cni/agent/upkeep/local-port.ts";
import { IpamError, type MooringEvent, type Port } from "../../../../ipam-server/contract/index.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { event, local, port, preclaimed } from "./local.ts";

/** A fence on node-a; the test sets its events and plugged ports. */
async function startFence() {
  const held = new HeldPorts();
  const queue = new KeyedQueue();
  const plugged: LocalPort[] = [];
  const fenced: string[] = [];
  /** Calls that a sandbox's fence waits for. */
  const slow = new Map<string, Promise<void>>();
  let reads = 0;
  let compares = 0;
  let readiness = 0;
  interface Listeners {
    notify(event: MooringEvent): void;
    fail(error: IpamError): void;
  }
  const { promise: following, resolve: follow } = Promise.withResolvers<Listeners>();
  const leased = [preclaimed({ name: "lease:node-a/1" }), preclaimed({ name: "lease:node-a/2" })];
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
      async ready() {
        readiness++;
      },
      async followEvents(
        host: string,
        _after: number,
        onEvent: (event: MooringEvent) => void,
        onError: (error: IpamError) => void,
        signal: AbortSignal,
      ) {
        assert.equal(host, "node-a", "the stream of this host alone");
        follow({ notify: onEvent, fail: onError });
        await new Promise(resolve => signal.addEventListener("abort", resolve, { once: true }));
      },
    },
  };
  const view = {
    // The index of the last read lacks ports that were plugged since.
    concerns: () => false,
    read: async () => {
      reads++;
      return [...plugged];
    },
  };
  const fence = new Fence({
    context,
    view,
    changes: {
      async fence(each: LocalPort) {
        await slow.get(each.sandboxId);
        return fenced.push(each.sandboxId) > 0;
      },
    },
    onEnded: () => {},
    compare: () => compares++,
    spreadMs: 0,
  } as unknown as FenceOptions);
  const counts = { reads: () => reads, compares: () => compares, readiness: () => readiness };
  return { fence, held, leased, queue, plugged, fenced, slow, ...counts, ...(await following) };
}

const MOVED = event({ type: "port.moved", epoch: 4, fromHost: "node-a", host: "node-b", ownerUid: "u2" });

describe("Fence", () => {
  it("drops a pre-claim as soon as its binding moves", async () => {
    const { fence, held, notify } = await startFence();
    await using _ = fence;
    held.put("u1", "eth0", { port: preclaimed() });
    notify(event({ type: "port.released", epoch: 2 }));
    notify({ ...MOVED, portId: "another port" });
    assert.ok(held.find("u1", "eth0"), "older events and those of another port id drop nothing");
    notify(MOVED);
    assert.equal(held.find("u1", "eth0"), undefined);
  });

  it("drops only the ended lease when its event is read", async () => {
    const { fence, leased, notify } = await startFence();
    await using _ = fence;
    notify(event({ type: "port.bound", port: "lease:node-a/1", epoch: 3, host: "node-a" }));
    notify(event({ type: "port.deleted", port: "lease:node-a/1", portId: "another port", epoch: 3 }));
    assert.equal(leased.length, 2);
    notify(event({ type: "port.released", port: "lease:node-a/1", epoch: 3, host: "node-a" }));
    assert.deepEqual(
      leased.map(({ name }) => name),
      ["lease:node-a/2"],
    );
  });

  it("fences a port while another one's fence waits for a call", async () => {
    const { fence, held, plugged, fenced, slow, reads, notify } = await startFence();
    const { promise: call, resolve: finish } = Promise.withResolvers<void>();
    {
      await using _ = fence;
      held.put("u1", "eth0", { port: port() });
      slow.set("s1", call);
      plugged.push(local());
      notify(MOVED);
      await waitFor("the first event to be read", async () => reads() === 1);
      plugged.push(local({ sandboxId: "s2" }, { portName: "c1/default/web-1", portId: "P2" }));
      notify({ ...MOVED, port: "c1/default/web-1", portId: "P2" });
      await waitFor("the other port to be fenced", async () => fenced.includes("s2"));
      assert.ok(!fenced.includes("s1"));
      finish();
    }
    assert.ok(fenced.includes("s1"), "the end waits for it");
  });

  for (const what of ["already granted to the call", "not yet granted"]) {
    it(`fences a port that moves during its call when the call ends (${what})`, async () => {
      const { fence, held, queue, plugged, fenced, reads, notify } = await startFence();
      await using _ = fence;
      const { promise: plugging, resolve: finish } = Promise.withResolvers<void>();
      const call = queue.run("s1/eth0", () => plugging);
      if (what !== "not yet granted") held.put("u1", "eth0", { port: port(), sandboxId: "s1" });
      notify(MOVED);
      await waitFor("the event to find nothing plugged", async () => reads() === 1);
      assert.deepEqual(fenced, []);
      plugged.push(local());
      finish();
      await call;
      await waitFor("the port to be fenced", async () => fenced.length > 0);
      assert.deepEqual(fenced, ["s1"]);
    });
  }

  it("compares nothing when its stream is refused, and fences once it is served", async () => {
    const { fence, plugged, fenced, compares, readiness, notify, fail } = await startFence();
    await using _ = fence;
    plugged.push(local());
    await waitFor("the first comparison", async () => compares() === 1);
    for (let i = 0; i < 13; i++) fail(new IpamError("overloaded", "no place", { retryAfterSeconds: 5 }));
    notify(MOVED);
    await waitFor("the port to be fenced", async () => fenced.length > 0);
    assert.deepEqual([compares(), readiness()], [1, 0], "no comparison was made or prepared");
    fail(new IpamError("unavailable", "the connection broke"));
    await waitFor("a comparison after a broken connection", async () => compares() === 2);
  });
});
