import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import type { Port } from "../../ipam-server/contract/index.ts";
import { cni } from "../../scripts/lab/cni.ts";
import { waitFor } from "../../scripts/lab/command.ts";
import { type LabNode, TRUNK } from "../../scripts/lab/node.ts";
import { NODE } from "../../scripts/lab/paths.ts";
import { ping } from "../../scripts/lab/ping.ts";
import type { PodSandbox } from "../../scripts/lab/runtime.ts";
import { expectSuccess, type Plugged } from "../lab/lab.ts";
import { type AgentLab, openAgentLab, unplug } from "./agent-lab.ts";

/** A pod `NAME-0` is kept for its StatefulSet `NAME`. */
const stateful = (pod: string) => [
  { apiVersion: "apps/v1", kind: "StatefulSet", name: pod.replace(/-0$/, ""), uid: "set-1", controller: true },
];
/** With IPv6 a new pod would detect the old one's address as a duplicate until the old one is unplugged. */
const IPV4 = { "mooring.dev/families": "ipv4" };
/** Sweeps that the tests can wait for. */
const EAGER = ["--sweep-grace", "300ms", "--sweep-interval", "500ms", "--uplinks", `br-int:${TRUNK}`];

describe("upkeep of a node", () => {
  let agentLab: AgentLab;
  before(async () => {
    agentLab = await openAgentLab();
    for (const agent of agentLab.agents) {
      await agent.stop();
      await agent.start(...EAGER);
    }
  });
  after(() => agentLab?.[Symbol.asyncDispose]());
  // A failed test's leftovers must not fail the next one.
  const plugged: Plugged[] = [];
  afterEach(async () => {
    for (const pod of plugged.splice(0)) await agentLab.lab.runtime.del(pod.node, pod, agentLab.conf(pod.node));
  });

  const plug = async (node: LabNode, sandbox: PodSandbox): Promise<Plugged> => {
    const pod = await agentLab.plug(node, sandbox);
    plugged.push(pod);
    return pod;
  };
  const plugStateful = async (name: string, node = agentLab.lab.a): Promise<Plugged> =>
    plug(
      node,
      await agentLab.createPod(node, name, { ownerReferences: stateful(name), annotations: IPV4, phase: "Running" }),
    );
  const answers = (pod: Plugged, seconds = 5) => ping(agentLab.lab.topology.legacy, pod.ipv4 ?? "", seconds);
  const waitForUnplugged = (node = agentLab.lab.a) =>
    waitFor(`nothing to be plugged on ${node.name}`, async () => (await node.listPluggedPorts()).length === 0);
  const waitForPort = async (name: string, what: string, is: (port: Port | undefined) => boolean): Promise<void> => {
    await waitFor(`${name} to be ${what}`, async () => is((await agentLab.lab.readPorts(name))[0]));
  };
  /** Binds the port to this sandbox again, as an orchestrator that cancels a move does. */
  const claimFor = async ({ node, pod, containerId }: Plugged) => {
    const { topology, ipam } = agentLab.lab;
    const owner = { kind: "pod", uid: pod.uid, createdAt: new Date().toISOString() };
    const sandbox = { id: containerId, interface: "eth0" };
    const name = `lab/default/${pod.name}`;
    const retention = { policy: "sticky" };
    const [set] = stateful(pod.name);
    const workload = { kind: set?.kind, namespace: pod.namespace, name: set?.name, uid: set?.uid };
    const claim = { name, nameFrom: "pod", cluster: "lab", host: node.name, networkSelector: "env=prod" };
    const body = JSON.stringify({
      claims: [{ ...claim, namespace: pod.namespace, sandbox, owner, retention, workload }],
    });
    const script = `fetch(process.argv[1], { method: "POST", headers: { "content-type": "application/json" },
      body: process.argv[2] }).then(async answer => console.log(answer.status, await answer.text()))`;
    const { stdout } = await topology.mgmt.run([NODE, "-e", script, `${ipam.url}/v1/claims`, body]);
    assert.match(stdout, /^200 .*"port"/);
  };
  const metric = async (name: string): Promise<number> => {
    const { body } = await agentLab.agents[0].read("/metrics");
    return [...body.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\d+)`, "gm"))].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
  };
  const wipeOvsdb = async (node: LabNode) => {
    await node.ovs.stop();
    for (const file of ["conf.db", ".conf.db.~lock~", "db.sock"]) rmSync(join(node.ovs.dir, file), { force: true });
    await node.ovs.start();
    await waitFor("the pod to be plugged again", async () => (await readMoored(node)) !== undefined);
  };
  const readMoored = async (node: LabNode) =>
    (await node.listPluggedPorts().catch(() => [])).find(name => name.startsWith("moor"));
  const readIds = async (node: LabNode) =>
    node.ovs.vsctl("get", "interface", (await readMoored(node)) ?? "", "external_ids");
  /** Four rounds later: the first may have begun before, and the grace period is over by the third. */
  const sweeps = async () => {
    const before = await metric("mooring_agent_sweeps_total");
    await waitFor("sweeps", async () => (await metric("mooring_agent_sweeps_total")) >= before + 4);
  };

  it("disconnects a live pod whose port moved, and ignores its late DEL", async () => {
    const fenced = await metric("mooring_agent_fenced_ports_total");
    const old = await plugStateful("moves-0");
    const young = await plugStateful("moves-0", agentLab.lab.b);
    assert.equal(young.ipv4, old.ipv4);
    await waitForUnplugged();
    assert.equal(await metric("mooring_agent_fenced_ports_total"), fenced + 1);
    assert.ok(await answers(young));
    await unplug(agentLab, old);
    assert.ok(await answers(young));
    await unplug(agentLab, young);
  });

  it("disconnects the old copy on a node that was cut off while the pod moved", async () => {
    const { a, b } = agentLab.lab;
    const old = await plugStateful("cut-0");
    await a.ip("link set eth0 down");
    const young = await plugStateful("cut-0", b);
    assert.equal((await a.listPluggedPorts()).length, 1, "an unreachable IPAM unplugs no port");
    await a.ip("link set eth0 up");
    await waitForUnplugged();
    assert.ok(await answers(young));
    await unplug(agentLab, old);
    await unplug(agentLab, young);
  });

  it("connects a fenced pod again when its binding returns, after a restart too", async () => {
    const { a, b } = agentLab.lab;
    const [agentA] = agentLab.agents;
    const old = await plugStateful("returns-0");
    const before = await old.endpoint.must(["ip", "-o", "address", "show", "dev", "eth0"]);
    await plugStateful("returns-0", b);
    await waitForUnplugged();
    await agentA.stop("SIGKILL");
    await agentA.start(...EAGER);
    await sweeps();
    assert.equal((await a.listVeths()).length, 1, "a fence keeps the interface");
    await claimFor(old);
    await waitFor("the pod to answer", () => answers(old, 1));
    assert.equal(await old.endpoint.must(["ip", "-o", "address", "show", "dev", "eth0"]), before);
    expectSuccess(await agentLab.lab.runtime.check(a, old, { ...agentLab.conf(a), prevResult: old.result }));
    await waitForUnplugged(b);
    await unplug(agentLab, old);
    assert.deepEqual(await a.listVeths(), []);
  });

  it("marks a fenced pod for operators, until its binding returns", async () => {
    const { kube, lab } = agentLab;
    const pod = await plugStateful("marked-0");
    const status = async () => {
      const pods = (await kube.ask("items", "/api/v1/pods")) as {
        metadata: object;
        status: { conditions?: object[] };
      }[];
      const found = pods.find(({ metadata }) => (metadata as { name: string }).name === "marked-0");
      return JSON.stringify(found?.status.conditions ?? []);
    };
    await claimFor({ ...pod, node: lab.b, containerId: "elsewhere", pod: { ...pod.pod, uid: randomUUID() } });
    await waitFor("the condition", async () =>
      /"mooring.dev\/Address","status":"False","reason":"AddressMoved"/.test(await status()),
    );
    await waitFor("an event on the pod", async () =>
      (await kube.events()).some(
        ({ reason, involvedObject }) => reason === "AddressMoved" && involvedObject.name === "marked-0",
      ),
    );
    await claimFor(pod);
    await waitFor("the condition to end", async () =>
      /"mooring.dev\/Address","status":"True","reason":"AddressConnected"/.test(await status()),
    );
    assert.ok(await answers(pod));
    await unplug(agentLab, pod);
  });

  it("announces a pod whose binding returns to neighbours that have another MAC", async () => {
    const { lab } = agentLab;
    const { legacy } = lab.topology;
    const pod = await plugStateful("announced-0");
    await claimFor({ ...pod, node: lab.b, containerId: "elsewhere", pod: { ...pod.pod, uid: randomUUID() } });
    await waitForUnplugged();
    await legacy.ip(`neigh replace ${pod.ipv4} lladdr 0a:58:0a:00:00:01 nud stale dev eth0`);
    await claimFor(pod);
    await waitFor("the neighbour to have its MAC", async () =>
      (await legacy.must(["ip", "neigh", "show", pod.ipv4 ?? ""])).includes(pod.mac ?? "no MAC"),
    );
    assert.ok(await answers(pod));
    await unplug(agentLab, pod);
  });

  it("collects a fenced pod that the runtime does not list", async () => {
    const { a, b, runtime } = agentLab.lab;
    const old = await plugStateful("collected-0");
    await plugStateful("collected-0", b);
    await waitForUnplugged();
    const { conf } = runtime.derive(a, old, agentLab.conf(a));
    expectSuccess(await cni(a, "GC", { conf: { ...conf, "cni.dev/valid-attachments": [] } }));
    // The agent deletes links on another thread.
    await waitFor("the link to be deleted", async () => (await a.listVeths()).length === 0);
  });

  it("disconnects a moved pod in the first sweep of a new agent", async () => {
    const [agentA] = agentLab.agents;
    const old = await plugStateful("restart-0");
    await agentA.stop("SIGKILL");
    const young = await plugStateful("restart-0", agentLab.lab.b);
    await agentA.start(...EAGER);
    await waitForUnplugged();
    await unplug(agentLab, old);
    await unplug(agentLab, young);
  });

  it("restores bridge, uplink and pods after OVSDB was wiped", async () => {
    const { a } = agentLab.lab;
    const pod = await plugStateful("wiped-0");
    assert.ok(await answers(pod));
    // The next look remembers what OVS knew.
    await sweeps();
    const before = await pod.endpoint.must(["ip", "-o", "address", "show", "dev", "eth0"]);
    await wipeOvsdb(a);
    await waitFor("the pod to answer", () => answers(pod, 1));
    assert.equal(await pod.endpoint.must(["ip", "-o", "address", "show", "dev", "eth0"]), before);
    expectSuccess(await agentLab.lab.runtime.check(a, pod, { ...agentLab.conf(a), prevResult: pod.result }));
    await unplug(agentLab, pod);
  });

  it("restores pods after OVSDB was wiped while the IPAM is down", async () => {
    const { a } = agentLab.lab;
    const pod = await plugStateful("wiped-alone-0");
    await sweeps();
    const before = await readIds(a);
    await agentLab.lab.ipam.stop("SIGKILL");
    try {
      await wipeOvsdb(a);
      await waitFor("the pod to answer", () => answers(pod, 1));
      assert.equal(await readIds(a), before);
    } finally {
      await agentLab.lab.ipam.start();
    }
    await unplug(agentLab, pod);
  });

  it("moves a pod to its physical network's bridge when the mappings change", async () => {
    const { a } = agentLab.lab;
    const [agentA] = agentLab.agents;
    const pod = await plugStateful("mapped-0");
    const index = await pod.endpoint.must(["cat", "/sys/class/net/eth0/ifindex"]);
    // While it is moved, the port is on no bridge.
    const bridgeOfPod = () => a.ovs.vsctl("port-to-br", pod.result.interfaces?.[0]?.name ?? "").catch(() => "none");
    const restart = async (trunkBridge: string, ...mappings: string[]) => {
      await agentA.stop();
      await a.ovs.vsctl("del-port", TRUNK);
      await agentA.start(...EAGER, "--uplinks", `${trunkBridge}:${TRUNK}`, ...mappings);
    };
    assert.equal(await bridgeOfPod(), "br-int");
    // As a version plugged it that recorded no physical network.
    await a.ovs.vsctl("remove", "interface", (await readMoored(a)) ?? "", "external_ids", "mooring-physical-network");
    await restart("br-one", "--bridge-mappings", "physnet9:br-nine,physnet1:br-one");
    await waitFor("the pod to be moved", async () => (await bridgeOfPod()) === "br-int-physnet1");
    await waitFor("the pod to answer", () => answers(pod, 1));
    await agentLab.lab.ipam.stop("SIGKILL");
    try {
      await restart("br-two", "--bridge-mappings", "physnet1:br-two,physnet9:br-nine");
      await waitFor("the pod to be moved without the IPAM", async () => (await bridgeOfPod()) === "br-int");
    } finally {
      await agentLab.lab.ipam.start();
    }
    await waitFor("the pod to answer", () => answers(pod, 1));
    assert.equal(await pod.endpoint.must(["cat", "/sys/class/net/eth0/ifindex"]), index);
    expectSuccess(await agentLab.lab.runtime.check(a, pod, { ...agentLab.conf(a), prevResult: pod.result }));
    await restart("br-int");
    await a.ovs.vsctl("del-port", "br-int-to-br-two");
    await unplug(agentLab, pod);
  });

  it("ends at start when bridge mappings would join two physical networks", async () => {
    const [agentA] = agentLab.agents;
    await agentA.stop();
    const mappings = ["--bridge-mappings", "physnet1:br-one,physnet9:br-int"];
    await assert.rejects(
      agentA.start(...mappings),
      /--bridge-mappings: joins the physical networks physnet1 and physnet9/,
    );
    await agentA.start(...EAGER);
  });

  it("leaves pods alone when OVS restarts", async () => {
    const { a } = agentLab.lab;
    const pod = await plugStateful("restarted-0");
    await a.ovs.stop();
    await a.ovs.start();
    await waitFor("the pod to answer", () => answers(pod, 1));
    await sweeps();
    assert.ok(await answers(pod));
    await unplug(agentLab, pod);
  });

  it("sweeps port and binding after a lost DEL, once pod and sandbox are gone", async () => {
    const pod = await plug(agentLab.lab.a, await agentLab.createPod(agentLab.lab.a, "lost"));
    await pod.endpoint.remove();
    await sweeps();
    const [kept] = await agentLab.lab.readPorts("lost");
    assert.ok(kept?.binding, "while the pod is there, so is its binding");
    await agentLab.kube.removePod("lost");
    await waitForPort("lost", "released", port => port === undefined);
    await waitForUnplugged();
  });

  it("sweeps nothing while Kubernetes is down or answers in part", async () => {
    const { kube, lab } = agentLab;
    const pod = await plug(lab.a, await agentLab.createPod(lab.a, "unknown"));
    await kube.ask("fail", "GET /api/v1/.*pods", 503);
    await kube.removePod("unknown");
    await pod.endpoint.remove();
    await sweeps();
    const [kept] = await lab.readPorts("unknown");
    assert.ok(kept?.binding);
    await kube.ask("mend");
    await waitForPort("unknown", "released", port => port === undefined);
    await waitForUnplugged();
  });

  it("sweeps without a read of Kubernetes while every pod is as it should be", async () => {
    const { kube, lab } = agentLab;
    const pod = await plugStateful("quiet-0");
    const reads = async () => {
      const requests = (await kube.ask("requests")) as string[];
      return requests.filter(line => line.startsWith("GET") && !line.includes("watch=true"));
    };
    // A sweep that began during the ADD may find it half done.
    await sweeps();
    const before = await reads();
    await sweeps();
    assert.deepEqual((await reads()).slice(before.length), []);
    assert.equal((await lab.a.listPluggedPorts()).length, 1);
    await unplug(agentLab, pod);
  });

  it("holds no port for pods that another plugin connects, sticky ones included", async () => {
    const { kube, lab } = agentLab;
    const spec = { uid: randomUUID(), ownerReferences: stateful("foreign-0"), annotations: IPV4 };
    await agentLab.createPod(lab.a, "foreign-0", spec);
    await waitForPort("foreign-0", "pre-claimed", port => port !== undefined);
    await kube.putPod({ name: "foreign-0", nodeName: lab.a.name, ...spec, phase: "Running" });
    await waitForPort("foreign-0", "deleted", port => port === undefined);
    await kube.putPod({ name: "foreign-1", uid: randomUUID(), nodeName: lab.a.name });
    const own = await plug(lab.a, await agentLab.createPod(lab.a, "own"));
    assert.deepEqual(await lab.readPorts("foreign-1"), [], "no pre-claim after a pod that ran without its own");
    await kube.putPod({ name: "next", uid: randomUUID(), nodeName: lab.a.name });
    await waitForPort("next", "pre-claimed after an ADD of eth0", port => port !== undefined);
    for (const name of ["foreign-0", "foreign-1", "next"]) await kube.removePod(name);
    await unplug(agentLab, own);
  });

  it("IPAM down: live pods stay, and removals are delivered later", async () => {
    const { kube, lab } = agentLab;
    const stays = await plugStateful("stays-0");
    const goes = await plug(lab.a, await agentLab.createPod(lab.a, "goes"));
    await lab.ipam.stop("SIGKILL");
    await goes.endpoint.remove();
    await kube.removePod("goes");
    await waitFor("the dead port to be swept", async () => (await lab.a.listPluggedPorts()).length === 1);
    await sweeps();
    assert.ok(await answers(stays));
    await lab.ipam.start();
    await waitForPort("goes", "released", port => port === undefined);
    assert.ok(await answers(stays));
    await unplug(agentLab, stays);
  });

  it("claims a binding that the IPAM lost again, with the same address", async () => {
    const pod = await plugStateful("forgotten-0");
    const [before] = await agentLab.lab.readPorts("forgotten-0");
    await agentLab.lab.ipam.mustCtl("release", "lab/default/forgotten-0");
    await waitForPort("forgotten-0", "claimed again", port => port?.binding?.sandbox?.id === pod.containerId);
    const [again] = await agentLab.lab.readPorts("forgotten-0");
    assert.deepEqual(again?.fixedIps, before?.fixedIps);
    assert.ok((again?.epoch ?? 0) > (before?.epoch ?? 0));
    await waitFor("OVS to know the new epoch", async () =>
      (
        await agentLab.lab.a.ovs.vsctl(
          "--bare",
          "--columns=external_ids",
          "find",
          "interface",
          `external_ids:mooring-sandbox=${pod.containerId}`,
        )
      ).includes(`mooring-epoch=${again?.epoch}`),
    );
    assert.ok(await answers(pod));
    await unplug(agentLab, pod);
    const [after] = await agentLab.lab.readPorts("forgotten-0");
    assert.equal(after?.binding, undefined, "its DEL still ends it");
  });

  it("claims an ephemeral port deleted under a live pod again, with its address", async () => {
    const pod = await plug(
      agentLab.lab.a,
      await agentLab.createPod(agentLab.lab.a, "deleted", { annotations: IPV4, phase: "Running" }),
    );
    await agentLab.lab.ipam.mustCtl("release", "lab/default/deleted");
    await waitForPort("deleted", "claimed again", port => port?.binding?.sandbox?.id === pod.containerId);
    assert.ok(await answers(pod));
    await unplug(agentLab, pod);
    await waitForPort("deleted", "gone", port => port === undefined);
  });

  it("sweeps the old sandbox's port after a reboot, and the new one gets it", async () => {
    const { lab } = agentLab;
    const uid = randomUUID();
    const spec = { uid, ownerReferences: stateful("reboot-0"), annotations: IPV4, phase: "Running" };
    const old = await plug(lab.a, await agentLab.createPod(lab.a, "reboot-0", spec));
    await old.endpoint.remove();
    const young = await plug(lab.a, await lab.runtime.create("reboot-0", uid));
    assert.equal(young.ipv4, old.ipv4);
    await waitFor("one port to be left", async () => (await lab.a.listPluggedPorts()).length === 1);
    assert.ok(await answers(young));
    await sweeps();
    assert.ok(await answers(young));
    await unplug(agentLab, young);
  });

  it("restores the VLAN of a port whose tag or mode was changed", async () => {
    const { a } = agentLab.lab;
    const pod = await plugStateful("isolated-0");
    const port = (await readMoored(a)) ?? "";
    const before = await metric("mooring_agent_wrong_vlan_total");
    const read = () => a.ovs.vsctl("get", "port", port, "tag", "vlan_mode", "trunks");
    const own = await read();
    await a.ovs.vsctl("set", "port", port, "vlan_mode=native-untagged", "tag=7");
    await waitFor("the VLAN to be restored", async () => (await read()) === own);
    await waitFor(
      "the fault to be counted",
      async () => (await metric("mooring_agent_wrong_vlan_total")) === before + 1,
    );
    assert.ok(await answers(pod));
    await unplug(agentLab, pod);
  });

  it("leaves ports and links of others alone", async () => {
    const { a } = agentLab.lab;
    await a.ip("link add theirs0 type veth peer name theirs1");
    await a.ovs.vsctl("add-port", "br-int", "theirs0", "--", "set", "interface", "theirs0", "external_ids:iface-id=vm");
    await sweeps();
    assert.deepEqual(await a.listPluggedPorts(), ["theirs0"]);
    await a.ovs.vsctl("del-port", "br-int", "theirs0");
    await a.ip("link delete theirs0");
  });
});
