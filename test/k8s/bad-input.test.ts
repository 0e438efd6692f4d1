import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Cluster } from "./support/cluster.ts";
import { NO_HAND_ON_NODES } from "./support/environment.ts";
import { Ipam } from "./support/ipam.ts";
import { openNamespace } from "./support/namespace.ts";
import { onNode } from "./support/nodes.ts";
import { idlePod, pod } from "./support/workloads.ts";

const NS = "e2e-bad";

describe("a pod whose ADD fails", { timeout: 900_000 }, () => {
  const cluster = new Cluster();
  const stack = new AsyncDisposableStack();
  let ipam: Ipam;

  before(async () => {
    ipam = await Ipam.find(cluster);
    stack.use(await openNamespace(cluster, NS));
  });
  after(async () => {
    await stack.disposeAsync();
    await ipam.settled();
  });

  const create = (name: string, annotations: Record<string, string>) =>
    cluster.apply(pod(NS, name, idlePod({ app: name, annotations })));
  const annotate = (name: string, annotations: Record<string, string>) =>
    cluster.patch("pods", NS, name, { metadata: { annotations } });

  it("starts once its annotation is valid", async () => {
    await create("wrong-value", { "mooring.dev/network-selector": "env=prod", "mooring.dev/retain": "forever" });
    await create("wrong-name", { "mooring.dev/network-selector": "env=prod", "mooring.dev/retian": "sticky" });
    const value = await cluster.eventOn(NS, "wrong-value", /mooring\.dev\/retain/);
    assert.match(value, /forever/);
    assert.match(value, /ephemeral.*sticky.*24h/s);
    assert.match(await cluster.eventOn(NS, "wrong-name", /mooring\.dev\/retian/), /mooring\.dev\/retain\b/);
    assert.equal((await cluster.findPod(NS, "wrong-value"))?.status.phase, "Pending");
    await annotate("wrong-value", { "mooring.dev/retain": "24h" });
    await cluster.readyPod(NS, "wrong-value");
  });

  it("starts once a network matches its selector", async () => {
    await ipam.ctl("delete", "network", "late").catch(() => undefined);
    await create("no-network", { "mooring.dev/network-selector": "env=late" });
    assert.match(await cluster.eventOn(NS, "no-network", /env=late/), /mooring\.dev\/network-selector/);
    const dir = await mkdtemp(join(tmpdir(), "mooring-e2e-"));
    try {
      const file = join(dir, "late.yaml");
      const spec = {
        segment: { type: "vlan", id: 500, physicalNetwork: "physnet1" },
        subnets: [{ cidr: "10.50.0.0/24", gateway: "10.50.0.1" }],
      };
      const network = {
        apiVersion: "mooring.dev/v1",
        kind: "Network",
        metadata: { name: "late", labels: { env: "late" } },
        spec,
      };
      await writeFile(file, JSON.stringify(network));
      await ipam.ctl("apply", "-f", file);
    } finally {
      await rm(dir, { recursive: true });
    }
    const late = await cluster.readyPod(NS, "no-network");
    assert.match(late.status.podIP ?? "", /^10\.50\.0\./);
  });

  it("starts once its network has a free address", async () => {
    const tiny = { "mooring.dev/network-selector": "env=tiny" };
    await create("takes-all", tiny);
    await cluster.readyPod(NS, "takes-all");
    await create("waits", tiny);
    await cluster.eventOn(NS, "waits", /no (free )?address|full/i);
    await cluster.deleteNow(NS, "takes-all");
    await cluster.readyPod(NS, "waits", { deadlineMs: 240_000 });
  });

  it("starts once it asks for a network that its node can reach", async () => {
    await create("too-far", { "mooring.dev/network-selector": "env=elsewhere" });
    await cluster.eventOn(NS, "too-far", /reach|physnet/i);
    await annotate("too-far", { "mooring.dev/network-selector": "env=prod" });
    await cluster.readyPod(NS, "too-far");
  });

  it("is the only one affected by garbage on the agent's socket", { skip: NO_HAND_ON_NODES }, async () => {
    const [node] = await cluster.nodes();
    const name = node?.metadata.name ?? "";
    for (const garbage of ["hello\\n", "{}\\n", '{"env":5}\\n', "\\u0000\\uffff"]) {
      const script = `const s = require("net").connect("/run/mooring/agent.sock", () => s.end("${garbage.replaceAll('"', '\\"')}"));
        s.setTimeout(20000, () => process.exit(1)); s.resume().on("close", () => process.exit(0)).on("error", () => {});`;
      await onNode(name, ["/opt/mooring/current/bin/node", "-e", script]);
    }
    await cluster.apply(pod(NS, "after-garbage", idlePod({ app: "x", nodeName: name })));
    await cluster.readyPod(NS, "after-garbage");
  });
});
