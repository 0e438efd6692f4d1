import type { IpFamily, Retention } from "../../ipam-server/contract/index.ts";
import { oneOf, parseDurationMs, parseListenAddress, parseText } from "../../ipam-server/process/option-parsers.ts";
import type { OptionValues } from "../../ipam-server/process/options.ts";
import { parseRetention, RETENTION_ACCEPTS } from "./pod/retention.ts";
import { UPKEEP_OPTIONS } from "./upkeep/options.ts";

export interface BridgeMapping {
  physicalNetwork: string;
  /** The OVS bridge that leads out to it. */
  bridge: string;
}

function parseServer(text: string): string {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new Error("is not http://HOST:PORT or https://HOST:PORT");
  }
  return text.replace(/\/+$/, "");
}

function parseCluster(text: string): string {
  if (!/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(text)) {
    throw new Error(
      "is not a cluster's name: 1 to 63 of A-Z a-z 0-9 . _ - beginning and ending with a letter or digit",
    );
  }
  return text;
}

function parsePath(text: string): string {
  if (!text.startsWith("/")) throw new Error("is not an absolute path");
  return text.replace(/(?<=.)\/+$/, "");
}

/** As Neutron's `bridge_mappings`; a physical network and a bridge stand in one pair each. */
function parseBridgeMappings(text: string): BridgeMapping[] {
  const mappings = text.split(",").map(pair => {
    const [physicalNetwork = "", bridge = "", ...rest] = pair.trim().split(":");
    if (physicalNetwork === "" || bridge === "" || rest.length > 0) {
      throw new Error("is not pairs of physical network and bridge, such as physnet1:br-bond,physnet2:br-data");
    }
    return { physicalNetwork, bridge };
  });
  const networks = new Set(mappings.map(({ physicalNetwork }) => physicalNetwork));
  if (networks.size < mappings.length) throw new Error("names a physical network twice");
  return mappings;
}

function parseFamilies(text: string): IpFamily[] {
  const families = text.split(",").map(each => oneOf("ipv4", "ipv6")(each.trim()));
  if (new Set(families).size < families.length) throw new Error("names a family twice");
  return families;
}

function parseRetain(text: string): Retention {
  const retention = parseRetention(text);
  if (retention === undefined) throw new Error(`is not ${RETENTION_ACCEPTS}`);
  return retention;
}

/** Everything a person can set on the agent. */
export const AGENT_OPTIONS = {
  nodeName: {
    about: "this node's name in Kubernetes, and its host in the IPAM; required",
    placeholder: "name",
    parse: parseText,
  },
  cluster: {
    about: "this cluster's name in the IPAM, which no other cluster has; required",
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
    about: "the bearer token for the IPAM, read again as it changes",
    placeholder: "file",
    parse: parsePath,
  },
  caFile: { about: "the authority (PEM) that signed the IPAM's certificate", placeholder: "file", parse: parsePath },
  socket: {
    about: "where the CNI executable finds the agent",
    placeholder: "path",
    default: "/run/mooring/agent.sock",
    parse: parsePath,
  },
  bridge: {
    about: "the integration bridge that pods are plugged into",
    placeholder: "bridge",
    default: "br-int",
    parse: parseText,
  },
  bridgeMappings: {
    about: "the bridges that lead out, such as physnet1:br-bond; without it every network counts as reachable",
    placeholder: "pairs",
    parse: parseBridgeMappings,
  },
  availabilityZone: {
    about: "the node's availability zone; without it every network counts as reachable",
    placeholder: "zone",
    parse: parseText,
  },
  networkSelector: {
    about: "networks of pods that ask for none, as a label selector; empty: any",
    placeholder: "selector",
    default: "",
    parse: parseText,
  },
  families: {
    about: "address families of pods that ask for none: ipv4, ipv6 or ipv4,ipv6; without it all the network has",
    placeholder: "families",
    parse: parseFamilies,
  },
  retain: {
    about: `retention of pods that ask for none: ${RETENTION_ACCEPTS}; without it their workload decides`,
    placeholder: "retention",
    parse: parseRetain,
  },
  ovsdb: {
    about: "the node's OVSDB: unix:PATH or tcp:HOST:PORT",
    placeholder: "remote",
    default: "unix:/run/openvswitch/db.sock",
    parse: parseText,
  },
  journalDir: {
    about: "where releases wait while the IPAM is away",
    placeholder: "path",
    default: "/var/lib/mooring/journal",
    parse: parsePath,
  },
  kubeconfig: {
    about: "how to reach Kubernetes; without it the service account's own way from inside a pod",
    placeholder: "file",
    parse: parsePath,
  },
  healthListen: {
    about: "where to serve /healthz, /readyz and /metrics",
    placeholder: "address",
    default: "127.0.0.1:7071",
    parse: parseListenAddress,
  },
  installBin: {
    about: "where to install the CNI executable; without it nothing is installed",
    placeholder: "path",
    parse: parsePath,
  },
  installConf: {
    about: "where to install the CNI configuration; without it none is installed",
    placeholder: "path",
    parse: parsePath,
  },
  installHome: { about: "where to install the executable's runtime", placeholder: "path", parse: parsePath },
  sweepInterval: {
    about: "how often everything is compared",
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

/** The options with what is required. */
export type AgentConfig = AgentOptions & { nodeName: string; cluster: string };
