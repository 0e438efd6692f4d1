import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PLUGIN } from "../../../scripts/lab/cni.ts";
import { BRIDGE } from "../../../scripts/lab/node.ts";
import { DIST } from "../../../scripts/lab/paths.ts";
import { createAgent, formatKubeconfig, type LabAgent } from "../../agent/agent-lab.ts";
import { LabKube } from "../../agent/kube.ts";
import type { BenchContext } from "../context.ts";
import type { Plugin } from "./cni-call.ts";
import { type BenchLab, openBenchLab } from "./lab.ts";

/** The bench's lab with a warm agent on each node, as built, and a fake Kubernetes API with the test's pods. */
export interface AgentNodes extends BenchLab {
  kube: LabKube;
  agents: LabAgent[];
  /** The executable as it forwards to a node's agent. */
  plugin(index: number): Plugin;
}

export async function openAgentNodes(context: BenchContext): Promise<AgentNodes> {
  await using stack = new AsyncDisposableStack();
  const lab = stack.use(await openBenchLab(context));
  const { topology } = lab;
  const kube = stack.use(await LabKube.start(topology));
  await kube.putNamespace("default", { "mooring.dev/families": "ipv4" });
  const kubeconfig = join(topology.dir, "kubeconfig");
  writeFileSync(kubeconfig, formatKubeconfig(kube.url));
  const program = `${DIST}mooring-agent.js`;
  const agents = topology.nodes.map(node => createAgent(lab, node, kubeconfig, program));
  stack.defer(async () => void (await Promise.all(agents.map(agent => agent.stop()))));
  await Promise.all(agents.map(agent => agent.start("--log-level", "info")));
  const owned = stack.move();
  return {
    ...lab,
    kube,
    agents,
    plugin(index) {
      const agentSocket = agents[index]?.socket;
      const config = { cniVersion: "1.1.0", name: "moored", type: "mooring", bridge: BRIDGE, agentSocket };
      return { name: "mooring", executable: PLUGIN, path: DIST, config };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
