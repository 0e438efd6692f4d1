import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { CommandResult } from "./command.ts";
import type { Ipam } from "./ipam.ts";
import { BRIDGE, type LabNode } from "./node.ts";
import { DIST } from "./paths.ts";
import type { Topology } from "./topology.ts";

export const PLUGIN = `${DIST}mooring`;

export type CniVerb = "ADD" | "DEL" | "CHECK" | "STATUS" | "GC" | "VERSION";

export interface CniCall {
  containerId?: string;
  /** Absent: the netns is deleted, which a runtime reports by an empty CNI_NETNS. */
  netns?: string;
  ifname?: string;
  args?: Record<string, string>;
  conf: object;
}

export interface CniAnswer extends CommandResult {
  /** stdout as JSON; undefined when it was empty. */
  json: CniJson | undefined;
}

/** The parts of a result and of an error that the lab looks at. */
export interface CniJson {
  cniVersion: string;
  interfaces?: { name: string; mac?: string; sandbox?: string }[];
  ips?: { address: string; gateway?: string; interface?: number }[];
  routes?: { dst: string; gw?: string; table?: number }[];
  code?: number;
  msg?: string;
  details?: string;
}

/** A call's environment by the CNI specification (section 2). */
export function deriveEnvironment(verb: CniVerb, call: CniCall): Record<string, string> {
  const args = Object.entries({ IgnoreUnknown: "1", ...call.args }).map(([key, value]) => `${key}=${value}`);
  return {
    CNI_COMMAND: verb,
    ...(call.containerId !== undefined && { CNI_CONTAINERID: call.containerId, CNI_IFNAME: call.ifname ?? "eth0" }),
    CNI_NETNS: call.netns ?? "",
    CNI_ARGS: args.join(";"),
    CNI_PATH: DIST,
  };
}

/** Runs the executable in the node's netns as a runtime does. */
export async function cni(node: LabNode, verb: CniVerb, call: CniCall): Promise<CniAnswer> {
  const env = { PATH: process.env.PATH ?? "", ...deriveEnvironment(verb, call) };
  const result = await node.run([PLUGIN], { env, input: JSON.stringify(call.conf) });
  try {
    return { ...result, json: result.stdout.trim() === "" ? undefined : JSON.parse(result.stdout) };
  } catch {
    throw new Error(`${verb} printed what is not JSON: ${result.stdout}\n${result.stderr}`);
  }
}

/** The plugin's configuration on this node, with the IPAM called directly. */
export function deriveConf(topology: Topology, node: LabNode, ipam: Ipam, more: object = {}): object {
  const journalDir = join(topology.dir, node.namespace, "journal");
  mkdirSync(journalDir, { recursive: true });
  return {
    cniVersion: "1.1.0",
    name: "moored",
    type: "mooring",
    bridge: BRIDGE,
    ipamServer: ipam.url,
    host: node.name,
    cluster: "lab",
    ovsdb: node.ovs.remote,
    journalDir,
    networkSelector: "env=prod",
    retain: "sticky",
    ...more,
  };
}
