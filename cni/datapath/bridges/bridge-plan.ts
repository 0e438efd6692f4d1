import { MADE } from "../../external-ids.ts";
import type { Operation } from "../ovsdb/client.ts";
import { encodeMap, encodeUuid } from "../ovsdb/value.ts";
import type { IntegrationBridge } from "./integration-bridges.ts";
import { findPort, findReachable, type OvsBridgeRow, type OvsPortRow, type OvsTopology } from "./topology.ts";

export type DatapathType = "system" | "netdev";

export interface Uplink {
  bridge: string;
  /** The host's interface that leads out of the node. */
  port: string;
}

export interface BridgePlan {
  /** The bridges that pods are plugged into; at least one. */
  integrations: readonly IntegrationBridge[];
  uplinks: Uplink[];
  /** Type of new bridges where no existing bridge decides it. */
  datapathType: DatapathType | "auto";
}

const MADE_MAP = encodeMap(MADE);

interface BridgeChanges {
  /** One transaction. */
  operations: Operation[];
  /** What they do, for logs and messages. */
  changes: string[];
  /** Names of the new bridges. */
  bridges: string[];
}

/**
 * Returns the changes from `found` to `plan`; pure. Bridges, patch pairs and uplinks that exist stay as they are, except
 * our own patch ports that lead to another bridge than planned.
 */
export function planBridges(
  found: OvsTopology,
  plan: BridgePlan,
  typeOf: (integration: IntegrationBridge) => DatapathType,
  absentUplinks: readonly Uplink[] = [],
): BridgeChanges {
  const planned: BridgeChanges = { operations: [], changes: [], bridges: [] };
  for (const integration of plan.integrations) {
    for (const name of bridgesOf(integration)) {
      if (!found.bridges.some(bridge => bridge.name === name)) addBridge(planned, found, name, typeOf(integration));
    }
  }
  for (const { bridge, port } of findStrayPatches(found, plan)) {
    const where = [["_uuid", "==", encodeUuid(bridge.uuid)]];
    const mutations = [["ports", "delete", encodeUuid(port.uuid)]];
    planned.operations.push({ op: "mutate", table: "Bridge", where, mutations });
    planned.changes.push(`removed patch port ${port.name}`);
  }
  for (const { name, provider } of plan.integrations) {
    if (provider !== undefined && provider !== name) addPatch(planned, found, name, provider);
  }
  for (const uplink of plan.uplinks) {
    if (findPort(found, uplink.port) !== undefined || absentUplinks.includes(uplink)) continue;
    addPort(planned, uplink.bridge, uplink.port, {});
    planned.changes.push(`uplink ${uplink.port} of ${uplink.bridge}`);
  }
  return planned;
}

/** The integration bridge and its provider bridge, which may be the same. */
export function bridgesOf({ name, provider = name }: IntegrationBridge): string[] {
  return [...new Set([name, provider])];
}

/**
 * Finds two physical networks that patch ports of others join, each named by its bridge; undefined if there are none.
 * Ignores our stray patch ports, which the plan removes.
 */
export function findJoined(found: OvsTopology, plan: BridgePlan): [string, string] | undefined {
  const stray = new Set(findStrayPatches(found, plan).map(({ port }) => port));
  const bridges = found.bridges.map(bridge => ({ ...bridge, ports: bridge.ports.filter(port => !stray.has(port)) }));
  for (const integration of plan.integrations) {
    const own = bridgesOf(integration);
    const reached = findReachable(bridges, ({ name }) => own.includes(name));
    const others = plan.integrations.filter(other => other !== integration).flatMap(bridgesOf);
    const other = [...reached].find(({ name }) => others.includes(name));
    if (other !== undefined) return [integration.provider ?? integration.name, other.name];
  }
  return undefined;
}

/** Our patch ports on planned bridges that lead to another bridge than planned, and their other ends if they are ours. */
function findStrayPatches(found: OvsTopology, plan: BridgePlan): { bridge: OvsBridgeRow; port: OvsPortRow }[] {
  const partners = new Map(
    plan.integrations.flatMap(({ name, provider }) =>
      provider === undefined ? [] : [[name, provider] as const, [provider, name] as const],
    ),
  );
  const patches = found.bridges.flatMap(bridge =>
    bridge.ports.filter(({ isMade, peer }) => isMade && peer !== undefined).map(port => ({ bridge, port })),
  );
  const isStray = ({ bridge, port }: (typeof patches)[number]) => {
    const partner = partners.get(bridge.name);
    return partner !== undefined && port.name !== derivePatchName(bridge.name, partner);
  };
  const strayNames = new Set(patches.filter(isStray).map(({ port }) => port.name));
  return patches.filter(({ port }) => strayNames.has(port.name) || strayNames.has(port.peer ?? ""));
}

const derivePatchName = (from: string, to: string): string => `${from}-to-${to}`;

function addBridge(planned: BridgeChanges, found: OvsTopology, name: string, type: DatapathType): void {
  const id = `bridge${planned.operations.length}`;
  const local = insertPort(planned, name, { type: "internal" }, {});
  planned.operations.push(
    {
      op: "insert",
      table: "Bridge",
      "uuid-name": id,
      row: { name, datapath_type: type, fail_mode: "standalone", ports: ["named-uuid", local], external_ids: MADE_MAP },
    },
    {
      op: "mutate",
      table: "Open_vSwitch",
      where: [["_uuid", "==", encodeUuid(found.uuid)]],
      mutations: [["bridges", "insert", ["named-uuid", id]]],
    },
  );
  planned.changes.push(`bridge ${name}`);
  planned.bridges.push(name);
}

/** Keeps a patch pair between the two under any names; completes a pair of ours that has lost one end. */
function addPatch(planned: BridgeChanges, found: OvsTopology, integration: string, bridge: string): void {
  const inside = found.bridges.find(({ name }) => name === integration);
  const outside = found.bridges.find(({ name }) => name === bridge);
  const peers = new Map(outside?.ports.map(port => [port.name, port.peer]));
  if (inside?.ports.some(port => port.peer !== undefined && peers.get(port.peer) === port.name)) return;
  const [near, far] = [derivePatchName(integration, bridge), derivePatchName(bridge, integration)];
  if (!inside?.ports.some(({ name }) => name === near)) {
    addPort(planned, integration, near, { type: "patch", options: encodeMap({ peer: far }) });
  }
  if (!outside?.ports.some(({ name }) => name === far)) {
    addPort(planned, bridge, far, { type: "patch", options: encodeMap({ peer: near }) });
  }
  planned.changes.push(`patch between ${integration} and ${bridge}`);
}

function addPort(planned: BridgeChanges, bridge: string, name: string, columns: Record<string, unknown>): void {
  const port = insertPort(planned, name, columns, { external_ids: MADE_MAP });
  const where = [["name", "==", bridge]];
  const mutations = [["ports", "insert", ["named-uuid", port]]];
  planned.operations.push({ op: "mutate", table: "Bridge", where, mutations });
}

function insertPort(
  planned: BridgeChanges,
  name: string,
  columns: Record<string, unknown>,
  portColumns: Record<string, unknown>,
): string {
  const id = `port${planned.operations.length}`;
  const row = { name, ...columns };
  planned.operations.push(
    { op: "insert", table: "Interface", "uuid-name": `interface_${id}`, row },
    {
      op: "insert",
      table: "Port",
      "uuid-name": id,
      row: { name, interfaces: ["named-uuid", `interface_${id}`], ...portColumns },
    },
  );
  return id;
}
