import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { pino } from "pino";
import { createIpamClient } from "../../ipam-server/client/client.ts";
import type { Claim, MooringEvent, NetworkManifest, Port, WorkloadReport } from "../../ipam-server/contract/index.ts";
import { PortView } from "../../ipam-server/controller/port-view.ts";
import { startServer } from "../../ipam-server/server.ts";
import { eventually } from "./eventually.ts";

/** Shows with a real server what the other tests' fake IPAM assumes of reads, preconditions and events. */
const NETWORK: NetworkManifest = {
  apiVersion: "mooring.dev/v1",
  kind: "Network",
  metadata: { name: "prod" },
  spec: {
    segment: { type: "vlan", id: 100, physicalNetwork: "physnet1" },
    subnets: [{ cidr: "10.100.0.0/24", gateway: "10.100.0.1" }],
  },
};
const UID = "8e5c0000-0000-4000-8000-000000000001";

function claim(ordinal: number, change: Partial<Claim> = {}): Claim {
  return {
    name: `c1/shop/web-${ordinal}`,
    cluster: "c1",
    namespace: "shop",
    host: "node-a",
    sandbox: { id: `sandbox-${ordinal}`, interface: "eth0" },
    owner: { kind: "pod", uid: UID, createdAt: "2026-11-20T08:00:00.000Z" },
    networkSelector: "",
    retention: { policy: "sticky" },
    workload: { kind: "StatefulSet", namespace: "shop", name: "web", uid: "set-uid", ordinal },
    ...change,
  };
}

async function setUp(stack: AsyncDisposableStack) {
  const folder = await mkdtemp(join(tmpdir(), "mooring-controller-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const server = stack.use(
    await startServer(
      {
        listen: { type: "tcp", host: "127.0.0.1", port: 0 },
        database: { engine: "sqlite", path: join(folder, "ipam.db") },
        reuseDelay: 0,
        leaseTime: 3_600_000,
        eventRetention: 86_400_000,
        retainWhenDeleted: 3600,
        retainWhenScaled: "Delete",
        eventSize: undefined,
        maxQueue: 1000,
        requestTimeout: 5_000,
        logLevel: "fatal",
        insecure: false,
      },
      pino({ level: "silent" }),
    ),
  );
  const client = stack.use(createIpamClient({ url: server.url, timeoutMs: 10_000 }));
  await fetch(`${server.url}/v1/networks/prod`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(NETWORK),
  });
  const claims = async (...items: Claim[]): Promise<Port[]> => {
    const results = await client.claimAll(items);
    return results.map(result => {
      assert.ok("port" in result, JSON.stringify(result));
      return result.port;
    });
  };
  return { client, claims };
}

describe("IPAM client of the controller", () => {
  it("the ports of a cluster alone, with workload and binding", async () => {
    await using stack = new AsyncDisposableStack();
    const { client, claims } = await setUp(stack);
    await claims(claim(0), claim(1), claim(2, { cluster: "c2", name: "c2/shop/web-2" }));
    const ports = await client.listPorts({ cluster: "c1" });
    assert.deepEqual(ports.map(port => port.name).sort(), ["c1/shop/web-0", "c1/shop/web-1"]);
    assert.deepEqual(ports[0]?.workload, claim(0).workload);
    assert.equal(ports[0]?.namespace, "shop");
    assert.equal(ports[0]?.binding?.ownerUid, UID);
  });

  it("a release ends a binding only if all its fields match", async () => {
    await using stack = new AsyncDisposableStack();
    const { client, claims } = await setUp(stack);
    await claims(claim(0));
    const seen = {
      name: "c1/shop/web-0",
      host: "node-a",
      ownerUid: UID,
      sandbox: { id: "sandbox-0", interface: "eth0" },
    };
    const wrong = [
      { ...seen, host: "node-b" },
      { ...seen, sandbox: { id: "other", interface: "eth0" } },
    ];
    for (const result of await client.release(wrong)) assert.ok("released" in result && !result.released);
    assert.deepEqual(await client.release([seen]), [{ released: true, name: "c1/shop/web-0", deleted: false }]);
  });

  it("a port is retired only if id and epoch match, and restored", async () => {
    await using stack = new AsyncDisposableStack();
    const { client, claims } = await setUp(stack);
    const [port] = await claims(claim(0));
    assert.ok(port);
    const { name, id, epoch } = port;
    const report = async (change: Partial<WorkloadReport> = {}) =>
      (await client.reportWorkloads([{ name, id, epoch, need: "deleted", ...change }]))[0];
    const stale = { applied: false, reason: "stale" };
    assert.deepEqual(await report(), stale, "bound");
    await client.release([{ name, host: "node-a", ownerUid: UID, sandbox: { id: "sandbox-0", interface: "eth0" } }]);
    assert.deepEqual(await report({ epoch: epoch + 1 }), stale);
    assert.deepEqual(await report({ id: "another" }), stale);
    const kept = await report();
    assert.ok(kept && "applied" in kept && kept.applied && !kept.deleted && kept.expiresAt !== undefined);
    assert.equal((await client.readPort(name)).unneeded, "deleted");
    assert.deepEqual(await report({ need: "needed" }), { applied: true, deleted: false });
    const { unneeded, expiresAt } = await client.readPort(name);
    assert.deepEqual([unneeded, expiresAt], [undefined, undefined]);
    assert.deepEqual(await report({ need: "scaled" }), { applied: true, deleted: true });
    assert.deepEqual(await report(), { applied: false, reason: "not_found" });
    assert.equal(await client.findPort(name), undefined);
  });

  it("the port view follows the event stream, including moves", async () => {
    await using stack = new AsyncDisposableStack();
    const { client, claims } = await setUp(stack);
    await claims(claim(0));
    const events: MooringEvent[] = [];
    const view = stack.use(new PortView({ client, cluster: "c1", onEvent: event => events.push(event) }));
    const names = async () => [...(await view.refresh())].map(port => port.name);
    assert.deepEqual(await names(), ["c1/shop/web-0"]);

    await claims(claim(1), claim(2, { cluster: "c2", name: "c2/shop/web-2" }));
    await eventually("the new port", async () => (await names()).includes("c1/shop/web-1"));
    const owner = { kind: "pod", uid: UID.replace("8e5c", "9e5c"), createdAt: "2026-11-20T09:00:00.000Z" } as const;
    await claims(claim(0, { host: "node-b", sandbox: { id: "new", interface: "eth0" }, owner }));
    await eventually(
      "the move",
      async () => (await view.refresh()) && view.peek("c1/shop/web-0")?.binding?.host === "node-b",
    );
    const moved = events.find(event => event.type === "port.moved");
    assert.equal(moved?.fromHost, "node-a");
    assert.equal(moved?.host, "node-b");
    assert.equal(moved?.ownerUid, owner.uid);
    assert.deepEqual(moved?.addresses, ["10.100.0.2"]);
    assert.ok(
      events.every(event => event.cluster === "c1"),
      "another cluster's events are not sent",
    );

    await client.release([
      { name: "c1/shop/web-1", host: "node-a", ownerUid: UID, sandbox: { id: "sandbox-1", interface: "eth0" } },
    ]);
    const port = await eventually("the release", async () => {
      await view.refresh();
      const now = view.peek("c1/shop/web-1");
      return now?.binding === undefined && now;
    });
    const released = await eventually("its event", () => events.find(event => event.type === "port.released"));
    assert.equal(released.host, "node-a", "the host shows a later pod that the port moved");
    await client.deletePort(port.name);
    await eventually("the deletion", async () => !(await names()).includes("c1/shop/web-1"));
  });
});
