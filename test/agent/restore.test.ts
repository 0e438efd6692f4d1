import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { waitFor } from "../../scripts/lab/command.ts";
import type { LabNode } from "../../scripts/lab/node.ts";
import { ping } from "../../scripts/lab/ping.ts";
import { runRestore } from "../server/transfer/restore-command.ts";
import { type AgentLab, openAgentLab, unplug } from "./agent-lab.ts";

const EAGER = ["--sweep-grace", "300ms", "--sweep-interval", "500ms"];
const IPV4 = { "mooring.dev/families": "ipv4" };
/** Recovery lasts at least half a minute. */
const RECOVERY_MS = 60_000;

describe("agents and a restored IPAM", () => {
  let agentLab: AgentLab;
  before(async () => {
    agentLab = await openAgentLab();
    for (const agent of agentLab.agents) {
      await agent.stop();
      await agent.start(...EAGER);
    }
  });
  after(() => agentLab?.[Symbol.asyncDispose]());

  const plug = async (node: LabNode, name: string) =>
    agentLab.plug(node, await agentLab.createPod(node, name, { annotations: IPV4, phase: "Running" }));
  const addressOf = async (name: string) => (await agentLab.lab.readPorts(name))[0]?.fixedIps[0]?.address;

  it("keep the addresses of pods that started after the backup", async () => {
    const { lab } = agentLab;
    const { ipam, topology } = lab;
    const file = join(topology.dir, "backup.db");
    const ended = await plug(lab.a, "ended");
    const left = [await plug(lab.a, "again"), await plug(lab.a, "moved")];
    await ipam.mustCtl("backup", file);
    // The address of the pod that has ended is the backup's, and the next ones are free in it.
    await unplug(agentLab, ended);
    await agentLab.kube.removePod("ended");
    for (const pod of left) {
      await unplug(agentLab, pod);
      await agentLab.kube.removePod(pod.pod.name);
    }
    const late = [await plug(lab.a, "late-a"), await plug(lab.b, "late-b")];
    // The backup has these names with other owners, on the first node.
    late.push(await plug(lab.a, "again"), await plug(lab.b, "moved"));

    await ipam.stop();
    const restored = await runRestore([file, "--database", `sqlite:${join(topology.dir, "ipam.db")}`, "--force"]);
    assert.deepEqual([restored.exitCode, restored.stderr], [0, ""]);
    await ipam.start();
    const early = await ipam.ctl(["reserve", "early", "--network-selector", "env=prod"]);
    assert.match(early.stderr, /restored from a backup and assigns nothing new until/);
    assert.match(await ipam.mustCtl("recovery"), /^Recovery: +since .*\nWaiting for: +\d+ hosts/);
    await waitFor("the recovery to end", async () => /none/.test(await ipam.mustCtl("recovery")), RECOVERY_MS);

    for (const pod of late) {
      assert.equal(await addressOf(pod.pod.name), pod.ipv4);
      assert.ok(await ping(topology.legacy, pod.ipv4 ?? "", 5));
    }
    for (const agent of agentLab.agents) {
      assert.deepEqual((await agent.read("/metrics")).body.match(/mooring_agent_fenced_ports_total\{.*/g), null);
    }
    assert.equal(await addressOf("ended"), undefined, "its node released it");
    const fresh = await plug(lab.b, "fresh");
    assert.ok(!late.some(({ ipv4 }) => ipv4 === fresh.ipv4));
    for (const pod of [...late, fresh]) await unplug(agentLab, pod);
  });
});
