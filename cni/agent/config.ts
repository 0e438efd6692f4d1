import type { IpFamily } from "../../ipam-server/contract/index.ts";
import { BRIDGE_MAPPINGS_ACCEPTS, parseBridgeMappings } from "../../ipam-server/process/bridge-mappings.ts";
import {
  accepting,
  oneOf,
  parseCluster,
  parseDurationMs,
  parseListenAddress,
  parseServer,
  parseText,
} from "../../ipam-server/process/option-parsers.ts";
import { OptionError, type OptionValues } from "../../ipam-server/process/options.ts";
import { deriveIntegrationBridges, type IntegrationBridge } from "../datapath/bridges/integration-bridges.ts";
import { parseRetention, RETENTION_ACCEPTS } from "../spec/retention.ts";
import { PRECLAIM_MODES } from "./claims/default-network.ts";
import { UPKEEP_OPTIONS } from "./upkeep/options.ts";

function parsePath(text: string): string {
  if (!text.startsWith("/")) throw new Error("is not an absolute path");
  return text.replace(/(?<=.)\/+$/, "");
}

function parseFamilies(text: string): IpFamily[] {
  const families = text.split(",").map(each => oneOf("ipv4", "ipv6")(each.trim()));
  if (new Set(families).size < families.length) throw new Error("names a family twice");
  return families;
}

/** The options of the agent. */
export const AGENT_OPTIONS = {
  nodeName: {
    about: "this node's name in Kubernetes, and its host in the IPAM; required",
    placeholder: "name",
    parse: parseText,
  },
  cluster: {
    about: "this cluster's unique name in the IPAM; required",
    placeholder: "name",
    parse: parseCluster,
  },
  server: {
    about: "the IPAM: http://HOST:PORT or https://HOST:PORT",
    placeholder: "url",
    default: "http://127.0.0.1:7070",
    parse: parseServer,
  },
  tokenFile: {
    about: "file with the bearer token for the IPAM; reloaded when it changes",
    placeholder: "file",
    parse: parsePath,
  },
  caFile: { about: "CA certificate (PEM) of the IPAM", placeholder: "file", parse: parsePath },
  socket: {
    about: "unix socket that the CNI executable connects to",
    placeholder: "path",
    default: "/run/mooring/agent.sock",
    parse: parsePath,
  },
  bridge: {
    about: "the integration bridge of the first physical network; others get BRIDGE-NETWORK",
    placeholder: "bridge",
    default: "br-int",
    parse: parseText,
  },
  bridgeMappings: {
    about: "provider bridges by physical network, such as physnet1:br-bond; default: every network is reachable",
    placeholder: "pairs",
    parse: accepting(parseBridgeMappings, BRIDGE_MAPPINGS_ACCEPTS),
  },
  availabilityZone: {
    about: "the node's availability zone; default: networks of every zone are reachable",
    placeholder: "zone",
    parse: parseText,
  },
  networkSelector: {
    about: "label selector of networks for pods that request none; empty: any",
    placeholder: "selector",
    default: "",
    parse: parseText,
  },
  families: {
    about: "address families for pods that request none: ipv4, ipv6 or ipv4,ipv6; default: all of the network",
    placeholder: "families",
    parse: parseFamilies,
  },
  retain: {
    about: `retention for pods that request none: ${RETENTION_ACCEPTS}; default: by workload`,
    placeholder: "retention",
    parse: accepting(parseRetention, RETENTION_ACCEPTS),
  },
  preclaim: {
    about:
      "claim a pod's first port when it is scheduled: always, never, or auto: if this node's pods get it from Mooring",
    placeholder: "mode",
    default: "auto",
    parse: oneOf(...PRECLAIM_MODES),
  },
  ovsdb: {
    about: "the node's OVSDB: unix:PATH or tcp:HOST:PORT",
    placeholder: "remote",
    default: "unix:/run/openvswitch/db.sock",
    parse: parseText,
  },
  journalDir: {
    about: "journals of claims, releases and reports while the IPAM is unreachable",
    placeholder: "path",
    default: "/var/lib/mooring/journal",
    parse: parsePath,
  },
  kubeconfig: {
    about: "kubeconfig file; default: in-cluster service account",
    placeholder: "file",
    parse: parsePath,
  },
  healthListen: {
    about: "address of /healthz, /readyz and /metrics",
    placeholder: "address",
    default: "127.0.0.1:7071",
    parse: parseListenAddress,
  },
  installBin: {
    about: "folder for the CNI executable; default: not installed",
    placeholder: "path",
    parse: parsePath,
  },
  installConf: {
    about: "folder for the CNI configuration; default: not installed",
    placeholder: "path",
    parse: parsePath,
  },
  installHome: { about: "folder for the executable's runtime", placeholder: "path", parse: parsePath },
  sweepInterval: {
    about: "interval of sweeps, which compare OVS, the IPAM and Kubernetes",
    placeholder: "duration",
    default: "3m",
    parse: parseDurationMs,
  },
  ...UPKEEP_OPTIONS,
  logLevel: {
    about: "one of fatal, error, warn, info, debug, trace",
    placeholder: "level",
    default: "info",
    parse: oneOf("fatal", "error", "warn", "info", "debug", "trace"),
  },
} as const;

export type AgentOptions = OptionValues<typeof AGENT_OPTIONS>;

/** The options, with the required ones set. */
export type AgentConfig = AgentOptions & { nodeName: string; cluster: string };

/** Throws OptionError if two physical networks would share a bridge. */
export function deriveBridges({ bridge, bridgeMappings }: AgentConfig): IntegrationBridge[] {
  try {
    return deriveIntegrationBridges(bridge, bridgeMappings);
  } catch (cause) {
    throw new OptionError(`--bridge-mappings: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}
