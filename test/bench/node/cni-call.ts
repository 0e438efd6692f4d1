import { deriveConf, PLUGIN } from "../../../scripts/lab/cni.ts";
import type { Endpoint } from "../../../scripts/lab/endpoint.ts";
import type { LabNode } from "../../../scripts/lab/node.ts";
import { DIST } from "../../../scripts/lab/paths.ts";
import type { Runner, RunnerReply } from "../runner/runner.ts";
import type { BenchLab } from "./lab.ts";

/** One CNI executable with its network configuration. */
export interface Plugin {
  name: string;
  executable: string;
  /** Where it finds the executables it delegates to. */
  path: string;
  config: object;
}

export interface CniCall {
  command: "ADD" | "DEL" | "VERSION";
  containerId: string;
  netns: string;
  podName: string;
  podUid: string;
}

/** Runs one CNI call as a container runtime does: one process, configuration on stdin, result on stdout. */
export async function callPlugin(runner: Runner, plugin: Plugin, call: CniCall): Promise<RunnerReply> {
  const reply = await runner.run({
    argv: [plugin.executable],
    env: {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      CNI_COMMAND: call.command,
      CNI_CONTAINERID: call.containerId,
      CNI_NETNS: call.netns,
      CNI_IFNAME: "eth0",
      CNI_PATH: plugin.path,
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${call.podName};K8S_POD_UID=${call.podUid}`,
    },
    input: JSON.stringify(plugin.config),
  });
  if (reply.code !== 0) {
    throw new Error(`${plugin.name} ${call.command} ended with ${reply.code}: ${reply.stdout} ${reply.stderr}`);
  }
  return reply;
}

/** `dist/mooring` in direct mode on a node of the lab. */
export function mooringPlugin({ topology, ipam }: BenchLab, node: LabNode, config: object = {}): Plugin {
  return { name: "mooring", executable: PLUGIN, path: DIST, config: deriveConf(topology, node, ipam, config) };
}

/** What CNI results of version 1.0.0 say about the pod's own interface. */
export function readAddress(stdout: string, pod: Endpoint): { address: string; mac: string } {
  const result: { ips?: { address: string }[]; interfaces?: { mac?: string; sandbox?: string }[] } = JSON.parse(stdout);
  const address = result.ips?.[0]?.address.replace(/\/.*/, "");
  const mac = result.interfaces?.find(({ sandbox }) => sandbox === pod.netns)?.mac;
  if (address === undefined || mac === undefined) throw new Error(`the result names no address or MAC: ${stdout}`);
  return { address, mac };
}
