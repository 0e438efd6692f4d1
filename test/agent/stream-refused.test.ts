import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { STREAM_LIMITS } from "../../ipam-server/http/v1/stream-places.ts";
import { waitFor } from "../../scripts/lab/command.ts";
import type { LabNode } from "../../scripts/lab/node.ts";
import { NODE } from "../../scripts/lab/paths.ts";
import type { Plugged } from "../lab/lab.ts";
import { type AgentLab, openAgentLab, unplug } from "./agent-lab.ts";

const SPEC = {
  ownerReferences: [{ apiVersion: "apps/v1", kind: "StatefulSet", name: "refused", uid: "set-1", controller: true }],
  annotations: { "mooring.dev/families": "ipv4" },
  phase: "Running",
};
/** Holds every stream that the node's agent may have open. */
const OCCUPY = `const [url, count] = process.argv.slice(1);
  const headers = { accept: "text/event-stream", "user-agent": "mooring-agent" };
  const answers = await Promise.all(Array.from({ length: Number(count) }, () => fetch(url, { headers })));
  console.log("occupied", answers.map(({ status }) => status).join());
  setInterval(() => {}, 1000);`;

describe("an agent whose event stream is refused", () => {
  let agentLab: AgentLab;
  before(async () => {
    agentLab = await openAgentLab();
  });
  after(() => agentLab?.[Symbol.asyncDispose]());

  const plug = async (node: LabNode): Promise<Plugged> =>
    agentLab.plug(node, await agentLab.createPod(node, "refused-0", SPEC));
  const countSweeps = async (): Promise<number> => {
    const { body } = await agentLab.agents[0].read("/metrics");
    return Number(/^mooring_agent_sweeps_total (\d+)/m.exec(body)?.[1]);
  };

  it("compares nothing for it, and fences a moved port once there is a place", async () => {
    const { a, b, ipam } = agentLab.lab;
    const [agentA] = agentLab.agents;
    const old = await plug(a);
    await agentA.stop();
    const url = `${ipam.url}/v1/events?host=${a.name}`;
    const places = String(STREAM_LIMITS.agent.perCaller);
    const occupant = a.start([NODE, "--input-type=module", "-e", OCCUPY, url, places]);
    await waitFor("the places to be occupied", async () => /occupied 200,/.test(agentA.log()));
    await agentA.start();
    const countRefusals = () => agentA.log().match(/^.*event streams open for host.*$/gm)?.length ?? 0;
    const waitForRefusals = (count: number) => waitFor(`refusal ${count}`, async () => countRefusals() >= count);
    // The sweeps of the start are over by the second refusal.
    await waitForRefusals(2);
    const sweeps = await countSweeps();
    assert.ok(sweeps > 0);
    await waitForRefusals(3);
    assert.equal(await countSweeps(), sweeps, "no comparison for a refusal");

    const young = await plug(b);
    assert.equal(young.ipv4, old.ipv4);
    assert.equal((await a.listPluggedPorts()).length, 1, "without a stream the move is not yet known");
    await a.stop(occupant, "SIGKILL");
    await waitFor("the moved port to be fenced", async () => (await a.listPluggedPorts()).length === 0);
    await unplug(agentLab, old);
    await unplug(agentLab, young);
  });
});
