import { MADE } from "../../external-ids.ts";
import type { Operation } from "../ovsdb/client.ts";
import { encodeMap, encodeUuid } from "../ovsdb/value.ts";
import { findPort, type OvsTopology } from "./topology.ts";

export type DatapathType = "system" | "netdev";

export interface Uplink {
  bridge: string;
  /** The host's interface that leads out of the node. */
  port: string;
}

export interface BridgePlan {
  /** The bridge that pods are plugged into. */
  integration: string;
  mappings: { physicalNetwork: string; bridge: string }[];
  uplinks: Uplink[];
  /** Type of new bridges where no existing bridge decides it. */
  datapathType: DatapathType | "auto";
}

const MADE_MAP = encodeMap(MADE);

interface BridgeChanges {
  /** One transaction. */
  operations: Operation[];
  /** What it makes, for logs and messages. */
  made: string[];
  /** Names of the new bridges. */
  bridges: string[];
}

/** Returns the changes from `found` to `plan`; pure. Bridges, patch pairs and uplinks that exist stay as they are. */
export function planBridges(
  found: OvsTopology,
  plan: BridgePlan,
  type: DatapathType,
  absentUplinks: readonly Uplink[] = [],
): BridgeChanges {
  const changes: BridgeChanges = { operations: [], made: [], bridges: [] };
  const mapped = [...new Set(plan.mappings.map(({ bridge }) => bridge))].filter(name => name !== plan.integration);
  for (const name of [plan.integration, ...mapped]) {
    if (!found.bridges.some(bridge => bridge.name === name)) addBridge(changes, found, name, type);
  }
  for (const bridge of mapped) addPatch(changes, found, plan.integration, bridge);
  for (const uplink of plan.uplinks) {
    if (findPort(found, uplink.port) !== undefined || absentUplinks.includes(uplink)) continue;
    addPort(changes, uplink.bridge, uplink.port, {});
    changes.made.push(`uplink ${uplink.port} of ${uplink.bridge}`);
  }
  return changes;
}

function addBridge(changes: BridgeChanges, found: OvsTopology, name: string, type: DatapathType): void {
  const id = `bridge${changes.operations.length}`;
  const local = insertPort(changes, name, { type: "internal" }, {});
  changes.operations.push(
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
  changes.made.push(`bridge ${name}`);
  changes.bridges.push(name);
}

/** Keeps a patch pair between the two under any names; completes a pair of ours that has lost one end. */
function addPatch(changes: BridgeChanges, found: OvsTopology, integration: string, bridge: string): void {
  const inside = found.bridges.find(({ name }) => name === integration);
  const outside = found.bridges.find(({ name }) => name === bridge);
  const peers = new Map(outside?.ports.map(port => [port.name, port.peer]));
  if (inside?.ports.some(port => port.peer !== undefined && peers.get(port.peer) === port.name)) return;
  const [near, far] = [`${integration}-to-${bridge}`, `${bridge}-to-${integration}`];
  if (!inside?.ports.some(({ name }) => name === near)) {
    addPort(changes, integration, near, { type: "patch", options: encodeMap({ peer: far }) });
  }
  if (!outside?.ports.some(({ name }) => name === far)) {
    addPort(changes, bridge, far, { type: "patch", options: encodeMap({ peer: near }) });
  }
  changes.made.push(`patch between ${integration} and ${bridge}`);
}

function addPort(changes: BridgeChanges, bridge: string, name: string, columns: Record<string, unknown>): void {
  const port = insertPort(changes, name, columns, { external_ids: MADE_MAP });
  const where = [["name", "==", bridge]];
  const mutations = [["ports", "insert", ["named-uuid", port]]];
  changes.operations.push({ op: "mutate", table: "Bridge", where, mutations });
}

function insertPort(
  changes: BridgeChanges,
  name: string,
  columns: Record<string, unknown>,
  portColumns: Record<string, unknown>,
): string {
  const id = `port${changes.operations.length}`;
  const row = { name, ...columns };
  changes.operations.push(
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
