import assert from "node:assert/strict";
import { after, test } from "node:test";
import { openAgentLab, unplug } from "./agent-lab.ts";

const agentLab = await openAgentLab();
after(() => agentLab[Symbol.asyncDispose]());
const { lab } = agentLab;

test("a pod is plugged through the agent, under the name and retention its labels say, and unplugged", async () => {
  const sandbox = await agentLab.createPod(lab.a, "plain", { labels: { app: "web" } });
  const plugged = await agentLab.plug(lab.a, sandbox);
  const [port] = await lab.readPorts("plain");
  assert.equal(port?.binding?.host, lab.a.name);
  assert.equal(port?.binding?.sandbox?.id, sandbox.containerId);
  assert.equal(port?.labels.app, "web");
  await unplug(agentLab, plugged);
  assert.deepEqual(await lab.readPorts("plain"), []);
});
