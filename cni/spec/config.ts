import type { Dns, IpFamily, Labels, Retention } from "../../ipam-server/contract/index.ts";
import {
  BRIDGE_MAPPINGS_ACCEPTS,
  type BridgeMapping,
  parseBridgeMappings,
} from "../../ipam-server/process/bridge-mappings.ts";
import { CLUSTER_NAME_ACCEPTS, parseClusterName } from "../../ipam-server/process/cluster-name.ts";
import { findNearest } from "../../ipam-server/process/nearest-word.ts";
import { LOCAL_SERVER_URL_ACCEPTS, parseServerUrl } from "../../ipam-server/process/server-url.ts";
import { deriveIntegrationBridges, type IntegrationBridge } from "../datapath/bridges/integration-bridges.ts";
import { CNI_CODES, CniError } from "./cni-error.ts";
import type { Command } from "./environment.ts";
import { parseRequestedAddresses, type RequestedAddresses } from "./requested-addresses.ts";
import { type CniResult, parseDns, parseResult } from "./result.ts";
import { parseRetention, RETENTION_ACCEPTS } from "./retention.ts";
import { asArray, asInteger, asObject, asText, invalidKey, isObject, type JsonObject } from "./shape.ts";
import { type CniVersion, isSupported, SUPPORTED_VERSIONS } from "./versions.ts";

/** Where claims go: to the node's agent, or straight to the IPAM (direct mode). */
type Upstream =
  | { kind: "agent"; socket: string }
  | { kind: "direct"; url: string; tokenFile?: string; caFile?: string; host: string; cluster: string };

/** The validated network configuration with its defaults. */
export interface NetworkConfig {
  cniVersion: CniVersion;
  name: string;
  /** As configured; absent: the default. */
  bridge?: string;
  /** Those of `bridge` and `bridgeMappings`. An agent has its own instead. */
  bridges: readonly IntegrationBridge[];
  upstream: Upstream;
  /** OVSDB endpoint such as `unix:/run/openvswitch/db.sock`. */
  ovsdb: string;
  networkSelector: string;
  /** Absent: ephemeral, or the default of the pod's workload. */
  retention?: Retention;
  /** Bytes; 0: the network's. */
  mtu: number;
  families?: IpFamily[];
  availabilityZone?: string;
  /** Of `bridgeMappings`: only their networks are chosen. */
  physicalNetworks?: string[];
  /** Overrides the subnet's DNS. */
  dns?: Dns;
  /** The network's journal is the subdirectory of its name. */
  journalDir: string;
  /** Limits the exchanges of one call with the IPAM. */
  timeoutMs: number;
  requested: RequestedAddresses;
  labels: Labels;
  prevResult?: CniResult;
  /** GC only: `containerID/ifname` of each attachment to keep. */
  validAttachments?: Set<string>;
}

/** Accepted keys: libcni's, the CNI conventions' and ours. */
const KEYS = [
  "cniVersion",
  "name",
  "type",
  "capabilities",
  "args",
  "runtimeConfig",
  "prevResult",
  "dns",
  "ipam",
  "cni.dev/valid-attachments",
  "cni.dev/attachments",
  "bridge",
  "agentSocket",
  "ipamServer",
  "tokenFile",
  "caFile",
  "host",
  "cluster",
  "ovsdb",
  "networkSelector",
  "retain",
  "mtu",
  "families",
  "availabilityZone",
  "bridgeMappings",
  "journalDir",
  "timeoutMs",
] as const;

/** Parses stdin and its version first, because every later error is formatted in that version. */
export function parseDocument(stdin: string): { raw: JsonObject; cniVersion: CniVersion } {
  let raw: unknown;
  try {
    raw = JSON.parse(stdin);
  } catch (cause) {
    const what = stdin.trim() === "" ? "nothing arrived on stdin" : `stdin is not JSON: ${String(cause)}`;
    throw new CniError(CNI_CODES.decoding, `the network configuration cannot be read: ${what}`, { cause });
  }
  if (!isObject(raw)) throw new CniError(CNI_CODES.decoding, "the network configuration on stdin is not a JSON object");
  if (raw.cniVersion === undefined) throw missing("cniVersion");
  if (!isSupported(raw.cniVersion)) {
    const supported = SUPPORTED_VERSIONS.join(", ");
    throw new CniError(
      CNI_CODES.incompatibleVersion,
      `cniVersion ${JSON.stringify(raw.cniVersion)} is not supported: set it to one of ${supported}`,
    );
  }
  return { raw, cniVersion: raw.cniVersion };
}

const DEFAULT_BRIDGE = "br-int";
const DEFAULT_OVSDB = "unix:/run/openvswitch/db.sock";
const DEFAULT_JOURNAL_DIR = "/var/lib/mooring/journal";
const DEFAULT_TIMEOUT_MS = 10_000;
/** Stands in where a teardown's configuration names no usable IPAM: the release waits in the journal. */
const NO_UPSTREAM: Upstream = { kind: "agent", socket: "/run/mooring/agent.sock" };

/**
 * Validates what the verb uses. DEL, GC and CHECK concern what an earlier configuration made, so they ignore what only ADD
 * uses and fall back to the default where a key they use is invalid now; never for what the runtime adds.
 */
export function parseNetworkConfig(raw: JsonObject, cniVersion: CniVersion, command: Command): NetworkConfig {
  if (command === "ADD" || command === "STATUS") return parseFullConfig(raw, cniVersion);
  return {
    cniVersion,
    name: parseName(raw),
    // Only an agent knows the bridges of its node.
    bridges: command === "CHECK" && raw.agentSocket === undefined ? orElse(() => parseBridges(raw).bridges, []) : [],
    upstream: orElse(() => parseUpstream(raw), NO_UPSTREAM),
    ovsdb: orElse(() => parseOvsdb(raw), DEFAULT_OVSDB),
    networkSelector: "",
    mtu: 0,
    journalDir: orElse(() => parseJournalDir(raw), DEFAULT_JOURNAL_DIR),
    timeoutMs: orElse(() => parseTimeout(raw), DEFAULT_TIMEOUT_MS),
    requested: {},
    labels: {},
    ...(command === "GC" && parseValidAttachments(raw)),
    ...(command === "CHECK" && raw.prevResult != null && { prevResult: parseResult(raw.prevResult) }),
  };
}

function orElse<T>(parse: () => T, fallback: T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof CniError) return fallback;
    throw error;
  }
}

function parseName(raw: JsonObject): string {
  if (raw.name === undefined) throw missing("name");
  const name = asText(raw.name, "name");
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) {
    throw invalidKey("name", 'letters, digits, "_", "." and "-", a letter or digit first', name);
  }
  return name;
}

const parseOvsdb = (raw: JsonObject): string => (raw.ovsdb === undefined ? DEFAULT_OVSDB : asText(raw.ovsdb, "ovsdb"));
const parseJournalDir = (raw: JsonObject): string =>
  raw.journalDir === undefined ? DEFAULT_JOURNAL_DIR : parsePath(raw.journalDir, "journalDir");
const parseTimeout = (raw: JsonObject): number =>
  raw.timeoutMs === undefined ? DEFAULT_TIMEOUT_MS : asInteger(raw.timeoutMs, "timeoutMs", 100, 600_000);

function parseFullConfig(raw: JsonObject, cniVersion: CniVersion): NetworkConfig {
  assertKnownKeys(raw);
  const name = parseName(raw);
  if (raw.type === undefined) throw missing("type");
  asText(raw.type, "type");
  assertNoDelegatedIpam(raw.ipam);
  return {
    cniVersion,
    name,
    ...parseRequestedAddresses(raw),
    ...parseBridges(raw),
    upstream: parseUpstream(raw),
    ovsdb: parseOvsdb(raw),
    networkSelector: raw.networkSelector === undefined ? "" : asSelector(raw.networkSelector),
    ...(raw.retain !== undefined && { retention: parseText(raw.retain, "retain", parseRetention, RETENTION_ACCEPTS) }),
    mtu: raw.mtu === undefined ? 0 : parseMtu(raw.mtu),
    ...(raw.families !== undefined && { families: parseFamilies(raw.families) }),
    ...(raw.availabilityZone !== undefined && { availabilityZone: asText(raw.availabilityZone, "availabilityZone") }),
    ...(raw.dns !== undefined && { dns: parseDns(raw.dns, "dns") }),
    journalDir: parseJournalDir(raw),
    timeoutMs: parseTimeout(raw),
    ...(raw.prevResult != null && { prevResult: parseResult(raw.prevResult) }),
    ...parseValidAttachments(raw),
  };
}

function assertKnownKeys(raw: JsonObject): void {
  for (const key of Object.keys(raw)) {
    if ((KEYS as readonly string[]).includes(key)) continue;
    const nearest = findNearest(key, KEYS);
    const advice = nearest === undefined ? "remove it" : `did you mean "${nearest}"?`;
    throw new CniError(CNI_CODES.invalidConfig, `network configuration: unknown key "${key}": ${advice}`);
  }
}

function assertNoDelegatedIpam(ipam: unknown): void {
  if (ipam === undefined || (isObject(ipam) && Object.keys(ipam).length === 0)) return;
  throw new CniError(
    CNI_CODES.invalidConfig,
    'network configuration: Mooring has its own IPAM and delegates to no other: remove "ipam"',
  );
}

function parseUpstream(raw: JsonObject): Upstream {
  const { agentSocket, ipamServer } = raw;
  if ((agentSocket === undefined) === (ipamServer === undefined)) {
    const found = agentSocket === undefined ? "neither is set" : "both are set";
    throw new CniError(
      CNI_CODES.invalidConfig,
      `network configuration: exactly one of "agentSocket" and "ipamServer" is required, ${found}`,
    );
  }
  if (agentSocket !== undefined) return { kind: "agent", socket: parsePath(agentSocket, "agentSocket") };

  const server = parseText(ipamServer, "ipamServer", parseServerUrl, LOCAL_SERVER_URL_ACCEPTS);
  if (server.basePath !== "") throw invalidKey("ipamServer", LOCAL_SERVER_URL_ACCEPTS, ipamServer);
  for (const key of ["host", "cluster"] as const) if (raw[key] === undefined) throw missing(key, ' with "ipamServer"');
  const cluster = parseText(raw.cluster, "cluster", parseClusterName, CLUSTER_NAME_ACCEPTS);
  return {
    kind: "direct",
    url: server.text,
    host: asText(raw.host, "host"),
    cluster,
    // An empty string means none, so that a template can always write the key.
    ...(raw.tokenFile !== undefined && raw.tokenFile !== "" && { tokenFile: parsePath(raw.tokenFile, "tokenFile") }),
    ...(raw.caFile !== undefined && raw.caFile !== "" && { caFile: parsePath(raw.caFile, "caFile") }),
  };
}

function parseMtu(value: unknown): number {
  return value === 0 ? 0 : asInteger(value, "mtu", 576, 65_535);
}

function asSelector(value: unknown): string {
  if (typeof value !== "string") throw invalidKey("networkSelector", 'a label selector such as "env=prod"', value);
  return value;
}

function parsePath(value: unknown, key: string): string {
  const path = asText(value, key, "an absolute path");
  if (!path.startsWith("/")) throw invalidKey(key, "an absolute path", value);
  return path;
}

function parseFamilies(value: unknown): IpFamily[] {
  const takes = 'a list of "ipv4", "ipv6" or both';
  const families = asArray(value, "families");
  if (families.length === 0 || new Set(families).size < families.length) throw invalidKey("families", takes, value);
  return families.map(family => {
    if (family !== "ipv4" && family !== "ipv6") throw invalidKey("families", takes, value);
    return family;
  });
}

const parseMappings = (value: unknown): BridgeMapping[] =>
  parseText(value, "bridgeMappings", parseBridgeMappings, BRIDGE_MAPPINGS_ACCEPTS);

function parseBridges(raw: JsonObject): Pick<NetworkConfig, "bridge" | "bridges" | "physicalNetworks"> {
  const bridge = raw.bridge === undefined ? undefined : asText(raw.bridge, "bridge", "the name of an OVS bridge");
  const mappings = raw.bridgeMappings === undefined ? undefined : parseMappings(raw.bridgeMappings);
  return {
    ...(bridge !== undefined && { bridge }),
    bridges: deriveBridges(bridge ?? DEFAULT_BRIDGE, mappings),
    ...(mappings !== undefined && { physicalNetworks: mappings.map(({ physicalNetwork }) => physicalNetwork) }),
  };
}

function deriveBridges(bridge: string, mappings: BridgeMapping[] | undefined): IntegrationBridge[] {
  try {
    return deriveIntegrationBridges(bridge, mappings);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CniError(CNI_CODES.invalidConfig, `network configuration: "bridgeMappings" ${why}`, { cause });
  }
}

/** Applies a grammar that returns undefined for what it does not accept. */
function parseText<T>(value: unknown, key: string, parse: (text: string) => T | undefined, accepts: string): T {
  const parsed = typeof value === "string" ? parse(value) : undefined;
  if (parsed === undefined) throw invalidKey(key, accepts, value);
  return parsed;
}

function parseValidAttachments(raw: JsonObject): { validAttachments?: Set<string> } {
  const key = "cni.dev/valid-attachments" in raw ? "cni.dev/valid-attachments" : "cni.dev/attachments";
  if (!(key in raw)) return {};
  const attachments = asArray(raw[key] ?? [], key).map((item, index) => {
    const raw = asObject(item, `${key}[${index}]`);
    const containerId = asText(raw.containerID, `${key}[${index}].containerID`);
    return `${containerId}/${asText(raw.ifname, `${key}[${index}].ifname`)}`;
  });
  return { validAttachments: new Set(attachments) };
}

function missing(key: string, when = ""): CniError {
  return new CniError(CNI_CODES.invalidConfig, `network configuration: "${key}" is missing${when}`);
}
