import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { parseAllDocuments, stringify } from "yaml";
import type { MooringEvent } from "../../ipam-server/contract/index.ts";
import { Client } from "./support/client.ts";
import { Cluster, type Pod } from "./support/cluster.ts";
import { ENVIRONMENT } from "./support/environment.ts";
import { eventually, expect } from "./support/eventually.ts";
import { Ipam, SYSTEM } from "./support/ipam.ts";
import { openNamespace } from "./support/namespace.ts";
import { deployment, webPod } from "./support/workloads.ts";

const NS = "e2e-lease";
const SIZE = 6;

describe("address leases of a node", { timeout: 900_000 }, () => {
  const cluster = new Cluster();
  const stack = new AsyncDisposableStack();
  let ipam: Ipam;
  let node: string;
  let client: Client;

  /** The networks of most tests, as they are declared, and with a lease. */
  const applyNetworks = async (nodeLease?: object) => {
    const dir = mkdtempSync(join(tmpdir(), "mooring-lease-"));
    const file = join(dir, "networks.yaml");
    const manifests = parseAllDocuments(readFileSync(ENVIRONMENT.networks, "utf8"))
      .map(document => document.toJS())
      .filter(({ metadata }) => metadata.labels?.env === "prod")
      .map(({ spec, ...rest }) => ({ ...rest, spec: { ...spec, ...(nodeLease && { nodeLease }) } }));
    writeFileSync(file, manifests.map(manifest => stringify(manifest)).join("---\n"));
    await ipam.ctl("apply", "-f", file);
    rmSync(dir, { recursive: true });
  };
  const leases = async (host: string) =>
    (await ipam.ports()).filter(({ owner, binding }) => owner?.kind === "lease" && binding?.host === host);
  const leasesAre = (atLeast: number) =>
    eventually(`${atLeast} leases of ${node}`, async () => {
      const { length } = await leases(node);
      return expect(length >= atLeast, () => `${length}`);
    });
  const scale = (replicas: number) => cluster.patch("deployments", NS, "many", { spec: { replicas } });
  /** The events of the pod's binding. */
  const bornFrom = async ({ metadata }: Pod) => {
    const output = await ipam.ctl("trace", `${ipam.cluster}/${NS}/${metadata.name}`, "-o", "json");
    const { events } = JSON.parse(output) as { events: MooringEvent[] };
    return events.find(({ type, message }) => type === "port.bound" && message !== undefined)?.message ?? "no lease";
  };

  before(async () => {
    ipam = await Ipam.find(cluster);
    const home = (await cluster.readyPod(SYSTEM, "mooring-ipam-0")).spec.nodeName;
    node = (await cluster.nodes()).find(({ metadata }) => metadata.name !== home)?.metadata.name ?? home ?? "";
    stack.use(await openNamespace(cluster, NS, { "mooring.dev/network-selector": "env=prod" }));
    client = await Client.start(cluster, NS, home ?? "");
    stack.defer(() => applyNetworks());
    await applyNetworks({ size: SIZE, low: 3 });
  });
  after(async () => {
    await stack.disposeAsync();
    await ipam.settled();
  });

  it("start a Deployment's pods, and are reported at once", async () => {
    await cluster.apply(deployment(NS, "many", 1, webPod({ app: "many", nodeName: node })));
    const [first] = await cluster.readyPods(NS, "many", 1);
    await leasesAre(SIZE);
    await scale(3);
    const pods = await cluster.readyPods(NS, "many", 3);
    for (const pod of pods) {
      await ipam.boundTo(pod);
      if (pod.metadata.uid !== first?.metadata.uid)
        assert.match(await bornFrom(pod), new RegExp(`^from lease:${node}/`));
    }
    await ipam.settled();
  });

  it("start pods while the IPAM is down, and are reported afterwards", async () => {
    await leasesAre(3);
    await cluster.patch("statefulsets", SYSTEM, "mooring-ipam", { spec: { replicas: 0 } });
    await eventually("the IPAM to be gone", async () => !(await cluster.findPod(SYSTEM, "mooring-ipam-0")));
    await scale(5);
    const pods = await cluster.readyPods(NS, "many", 5);
    for (const pod of pods) await client.answeredBy(pod.metadata.uid, pod.status.podIP ?? "");
    await scale(4);
    await cluster.readyPods(NS, "many", 4);

    await cluster.patch("statefulsets", SYSTEM, "mooring-ipam", { spec: { replicas: 1 } });
    await cluster.readyPod(SYSTEM, "mooring-ipam-0");
    for (const pod of await cluster.readyPods(NS, "many", 4)) await ipam.boundTo(pod);
    await ipam.settled();
  });

  it("are returned when the node is cordoned", async () => {
    await leasesAre(1);
    await cluster.kubectl(["cordon", node]);
    try {
      await eventually("no lease to be left", async () => (await leases(node)).length === 0);
    } finally {
      await cluster.kubectl(["uncordon", node]);
    }
  });
});
