import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, afterEach, before, describe, it } from "node:test";
import type { Port } from "../../ipam-server/contract/index.ts";
import { waitFor } from "../../scripts/lab/command.ts";
import { type LabNode, TRUNK } from "../../scripts/lab/node.ts";
import { ping } from "../../scripts/lab/ping.ts";
import type { PodSandbox } from "../../scripts/lab/runtime.ts";
import { expectSuccess, type Plugged } from "../lab/lab.ts";
import { type AgentLab, openAgentLab } from "./agent-lab.ts";
import type { PodSpec } from "./kube.ts";

/** No sweep but those that an event or a pod requests. */
const OPTIONS = ["--sweep-grace", "300ms", "--sweep-interval", "10m", "--uplinks", `br-int:${TRUNK}`];
const READY = { "kubevirt.io/migration-target-ready-timestamp": "2026-11-20T08:00:00Z" };

/** Pods as KubeVirt makes them for a machine; there is no KubeVirt here. */
const launcher = (machine: string, job?: string): Partial<PodSpec> => ({
  ownerReferences: [
    {
      apiVersion: "kubevirt.io/v1",
      kind: "VirtualMachineInstance",
      name: machine,
      uid: `vmi-${machine}`,
      controller: true,
    },
  ],
  labels: { "kubevirt.io": "virt-launcher", ...(job !== undefined && { "kubevirt.io/migrationJobUID": job }) },
});

interface Launcher {
  sandbox: PodSandbox;
  spec: Partial<PodSpec>;
  plugged: Plugged;
}

describe("live migration of a KubeVirt machine", () => {
  let agentLab: AgentLab;
  const running: Launcher[] = [];
  before(async () => {
    agentLab = await openAgentLab();
    for (const agent of agentLab.agents) {
      await agent.stop();
      await agent.start(...OPTIONS);
    }
  });
  after(() => agentLab?.[Symbol.asyncDispose]());
  afterEach(async () => {
    for (const each of running.splice(0)) await remove(each);
  });

  const start = async (node: LabNode, pod: string, spec: Partial<PodSpec>): Promise<Launcher> => {
    const of = { uid: randomUUID(), nodeName: node.name, ...spec };
    const sandbox = await agentLab.createPod(node, pod, of);
    const found = { sandbox, spec: of, plugged: await agentLab.plug(node, sandbox) };
    running.push(found);
    return found;
  };
  /** The pod ends, and the runtime removes its sandbox. */
  const remove = async ({ plugged, sandbox }: Launcher): Promise<void> => {
    await agentLab.kube.removePod(sandbox.pod.name);
    expectSuccess(await agentLab.lab.runtime.del(plugged.node, plugged, agentLab.conf(plugged.node)));
  };
  const annotate = ({ sandbox, spec }: Launcher, annotations: Record<string, string>) =>
    agentLab.kube.putPod({ name: sandbox.pod.name, uid: sandbox.pod.uid, ...spec, annotations, phase: "Running" });
  const readPort = async (machine: string): Promise<Port | undefined> => (await agentLab.lab.readPorts(machine))[0];
  const waitForHost = (machine: string, host: string) =>
    waitFor(`${machine} to be on ${host}`, async () => {
      const port = await readPort(machine);
      return port?.binding?.host === host && port.underlay === "ACTIVE";
    });
  const countFrames = async ({ plugged }: Launcher): Promise<number[]> => {
    const [link] = JSON.parse(await plugged.endpoint.must(["ip", "-j", "-s", "link", "show", "eth0"]));
    return [link.stats64.rx.packets, link.stats64.tx.packets];
  };
  const countFenced = async (): Promise<string | undefined> => {
    const { body } = await agentLab.agents[0].read("/metrics");
    return /^mooring_agent_fenced_ports_total.*$/m.exec(body)?.[0];
  };
  /** Host links of pods that are on the bridge. */
  const listConnected = async (node: LabNode) =>
    (await node.listPluggedPorts()).filter(name => name.startsWith("moor"));
  const legacy = () => agentLab.lab.topology.legacy;

  it("plugs the target silent, and leaves the source's traffic alone", async () => {
    const { a, b } = agentLab.lab;
    const source = await start(a, "virt-launcher-vm1-aaaaa", launcher("vm1"));
    assert.ok(await ping(legacy(), source.plugged.ipv4 ?? ""));
    const target = await start(b, "virt-launcher-vm1-bbbbb", launcher("vm1", "job-1"));
    assert.deepEqual([target.plugged.ipv4, target.plugged.mac], [source.plugged.ipv4, source.plugged.mac]);
    const port = await readPort("vm1");
    assert.deepEqual([port?.binding?.host, port?.inactiveBinding?.host], [a.name, b.name]);
    assert.equal(port?.inactiveBinding?.migration.id, "job-1");
    assert.ok(await ping(legacy(), source.plugged.ipv4 ?? ""));
    assert.deepEqual(await countFrames(target), [0, 0]);
    const conf = { ...agentLab.conf(b), prevResult: target.plugged.result };
    expectSuccess(await agentLab.lab.runtime.check(b, target.plugged, conf));
    assert.deepEqual(await listConnected(b), []);
  });

  it("moves the machine's traffic when the target's pod says that it is ready", async () => {
    const { a, b } = agentLab.lab;
    const source = await start(a, "virt-launcher-vm2-aaaaa", launcher("vm2"));
    const target = await start(b, "virt-launcher-vm2-bbbbb", launcher("vm2", "job-2"));
    await annotate(target, READY);
    await waitForHost("vm2", b.name);
    await waitFor("the source to be fenced", async () => (await listConnected(a)).length === 0);
    assert.ok(await ping(legacy(), target.plugged.ipv4 ?? ""));
    const frames = await countFrames(source);
    assert.ok(await ping(legacy(), target.plugged.ipv4 ?? ""));
    assert.deepEqual(await countFrames(source), frames);
    await remove(source);
    running.splice(running.indexOf(source), 1);
    assert.equal((await readPort("vm2"))?.binding?.host, b.name);
    assert.ok(await ping(legacy(), target.plugged.ipv4 ?? ""));
  });

  it("moves it when the instance's status names the target's node", async () => {
    const { a, b, topology } = agentLab.lab;
    await agentLab.kube.putInstance("vm3", a.name);
    await start(a, "virt-launcher-vm3-aaaaa", launcher("vm3"));
    const target = await start(b, "virt-launcher-vm3-bbbbb", launcher("vm3", "job-3"));
    await agentLab.kube.putInstance("vm3", b.name);
    await waitForHost("vm3", b.name);
    assert.ok(await ping(topology.legacy, target.plugged.ipv4 ?? ""));
  });

  it("cancels without an outage, and migrates again", async () => {
    const { a, b } = agentLab.lab;
    const source = await start(a, "virt-launcher-vm4-aaaaa", launcher("vm4"));
    const [ports, fenced] = [await listConnected(a), await countFenced()];
    const failed = await start(b, "virt-launcher-vm4-bbbbb", launcher("vm4", "job-4"));
    await remove(failed);
    running.splice(running.indexOf(failed), 1);
    await waitFor("the target to be dropped", async () => (await readPort("vm4"))?.inactiveBinding === undefined);
    assert.deepEqual([await listConnected(a), await countFenced()], [ports, fenced]);
    assert.equal((await readPort("vm4"))?.epoch, 1);
    assert.ok(await ping(legacy(), source.plugged.ipv4 ?? ""));

    const target = await start(b, "virt-launcher-vm4-ccccc", launcher("vm4", "job-5"));
    await annotate(target, READY);
    await waitForHost("vm4", b.name);
    assert.ok(await ping(legacy(), target.plugged.ipv4 ?? ""));
  });

  it("connects the target after its agent has restarted", async () => {
    const { a, b } = agentLab.lab;
    const [, agentB] = agentLab.agents;
    await start(a, "virt-launcher-vm5-aaaaa", launcher("vm5"));
    const target = await start(b, "virt-launcher-vm5-bbbbb", launcher("vm5", "job-6"));
    await agentB.stop("SIGKILL");
    await annotate(target, READY);
    await agentB.start(...OPTIONS);
    await waitForHost("vm5", b.name);
    assert.ok(await ping(legacy(), target.plugged.ipv4 ?? ""));
  });

  it("follows an activation by another orchestrator", async () => {
    const { a, b, ipam } = agentLab.lab;
    await start(a, "virt-launcher-vm6-aaaaa", launcher("vm6"));
    const target = await start(b, "virt-launcher-vm6-bbbbb", launcher("vm6", "job-7"));
    await ipam.mustCtl("activate", "lab/default/vm6", "--host", b.name);
    await waitFor("the target to answer", () => ping(legacy(), target.plugged.ipv4 ?? "", 1));
  });

  it("treats a pod that only bears the labels as any other", async () => {
    const { b } = agentLab.lab;
    const { labels } = launcher("vm7", "job-8");
    const pod = await start(b, "liar", { labels: { ...labels } });
    const port = await readPort("liar");
    assert.deepEqual([port?.binding?.host, port?.inactiveBinding], [b.name, undefined]);
    assert.ok(await ping(legacy(), pod.plugged.ipv4 ?? ""));
  });
});
