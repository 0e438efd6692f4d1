import type { DatapathContext } from "./context.ts";
import { DatapathError } from "./datapath-error.ts";
import { Deadline } from "./deadline.ts";
import { fetchLink } from "./netlink/link.ts";
import { type Operation, TransactionError } from "./ovsdb/client.ts";
import { select, waitForConfigured } from "./ovsdb/ports.ts";
import { fetchTopology, findPort, type OvsBridgeRow, type Topology } from "./ovsdb/topology.ts";
import { encodeMap, encodeUuid, readInteger } from "./ovsdb/value.ts";

export type DatapathType = "system" | "netdev";

export interface Uplink {
  bridge: string;
  /** The interface that leads out of the node. */
  port: string;
}

export interface BridgePlan {
  /** The bridge pods are plugged into. */
  integration: string;
  mappings: { physicalNetwork: string; bridge: string }[];
  uplinks: Uplink[];
  /** Of bridges that have to be made where there is none to go by. */
  datapathType: DatapathType | "auto";
}

export interface RemovedBridges {
  removed: string[];
  /** What stays, and why. */
  kept: string[];
}

/** On every row that Mooring made beside the pods' ports: what lacks it is somebody else's. */
export const MADE_KEY = "mooring-made";
const MADE = encodeMap({ [MADE_KEY]: "true" });

/** Another process may make the same at the same moment; then what it made is looked at again. */
const ATTEMPTS = 3;

/**
 * Makes what is missing in one transaction. Bridges, patch pairs and uplinks that are there are used as they are, whoever
 * made them. Idempotent.
 */
export async function ensureBridges(context: DatapathContext, plan: BridgePlan): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const deadline = new Deadline(context.timeoutMs);
    const found = await fetchTopology(context.ovsdb, deadline);
    const type = deriveType(found, plan);
    const missingUplinks = await findMissingUplinks(context, plan, found, deadline);
    const { operations, made, bridges } = planBridges(found, plan, type ?? "system", missingUplinks);
    try {
      if (operations.length > 0) await apply(context, operations, deadline);
    } catch (error) {
      if (!(error instanceof TransactionError)) throw error;
      if (attempt < ATTEMPTS) continue;
      throw new DatapathError("bridge", `OVSDB refused to make ${made.join(", ")}: ${error.message}`, error);
    }
    if (bridges.length > 0 && type === undefined) await settleType(context, bridges, deadline);
    const [absent] = missingUplinks;
    if (absent !== undefined) {
      throw new DatapathError(
        "bridge",
        `the uplink ${absent.port} of ${absent.bridge} is not an interface of this host`,
      );
    }
    return made;
  }
}

/** Patch ports join bridges of one datapath only. Undefined: there is no bridge to go by, and nobody has said. */
function deriveType(found: Topology, plan: BridgePlan): DatapathType | undefined {
  const names = [plan.integration, ...plan.mappings.map(({ bridge }) => bridge)];
  const ours = found.bridges.filter(({ name }) => names.includes(name));
  const [first, ...rest] = ours;
  const other = rest.find(bridge => bridge.datapathType !== first?.datapathType);
  if (first !== undefined && other !== undefined) {
    const types = `${first.name} is ${first.datapathType} and ${other.name} is ${other.datapathType}`;
    throw new DatapathError("bridge", `${types}: bridges that are joined must have the same datapath_type`);
  }
  const like = first ?? (plan.datapathType === "auto" ? found.bridges[0] : undefined);
  if (like !== undefined) return like.datapathType === "netdev" ? "netdev" : "system";
  return plan.datapathType === "auto" ? undefined : plan.datapathType;
}

async function findMissingUplinks(
  context: DatapathContext,
  plan: BridgePlan,
  found: Topology,
  deadline: Deadline,
): Promise<Uplink[]> {
  const missing: Uplink[] = [];
  for (const uplink of plan.uplinks) {
    if (findPort(found, uplink.port) !== undefined) continue;
    const link = await fetchLink(await context.hostSocket(), uplink.port, deadline);
    if (link === undefined) missing.push(uplink);
  }
  return missing;
}

interface Changes {
  operations: Operation[];
  /** For people. */
  made: string[];
  /** Names of the bridges among them. */
  bridges: string[];
}

/** What one transaction has to do; pure. */
export function planBridges(
  found: Topology,
  plan: BridgePlan,
  type: DatapathType,
  absentUplinks: readonly Uplink[] = [],
): Changes {
  const changes: Changes = { operations: [], made: [], bridges: [] };
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

function addBridge(changes: Changes, found: Topology, name: string, type: DatapathType): void {
  const id = `bridge${changes.operations.length}`;
  const local = insertPort(changes, name, { type: "internal" }, {});
  changes.operations.push(
    {
      op: "insert",
      table: "Bridge",
      "uuid-name": id,
      row: { name, datapath_type: type, fail_mode: "standalone", ports: ["named-uuid", local], external_ids: MADE },
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

/** A pair between the two, under whatever names, is as good as ours; half of ours is made whole. */
function addPatch(changes: Changes, found: Topology, integration: string, bridge: string): void {
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

function addPort(changes: Changes, bridge: string, name: string, columns: Record<string, unknown>): void {
  const port = insertPort(changes, name, columns, { external_ids: MADE });
  const where = [["name", "==", bridge]];
  const mutations = [["ports", "insert", ["named-uuid", port]]];
  changes.operations.push({ op: "mutate", table: "Bridge", where, mutations });
}

function insertPort(
  changes: Changes,
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

/** Carries the operations out and waits until ovs-vswitchd has taken them up. */
async function apply({ ovsdb }: DatapathContext, operations: Operation[], deadline: Deadline): Promise<void> {
  const results = await ovsdb.transact(
    [
      ...operations,
      { op: "mutate", table: "Open_vSwitch", where: [], mutations: [["next_cfg", "+=", 1]] },
      { op: "select", table: "Open_vSwitch", where: [], columns: ["next_cfg"] },
    ],
    deadline,
  );
  const [row = {}] = results.at(operations.length + 1)?.rows ?? [];
  await waitForConfigured(ovsdb, readInteger(row, "next_cfg") ?? 0, deadline);
}

/**
 * OVS lists both datapath types whatever the kernel has, and only a bridge of it tells: without the kernel's module its
 * local port never gets an ofport. Then the new bridges become userspace ones.
 */
async function settleType(context: DatapathContext, bridges: string[], deadline: Deadline): Promise<void> {
  const locals = bridges.map(name => ({
    op: "select",
    table: "Interface",
    where: [["name", "==", name]],
    columns: ["ofport"],
  }));
  const rows = (await select(context.ovsdb, locals, deadline)).flat();
  if (rows.every(row => readInteger(row, "ofport") !== undefined && readInteger(row, "ofport") !== -1)) return;
  const updates = bridges.map(name => {
    return { op: "update", table: "Bridge", where: [["name", "==", name]], row: { datapath_type: "netdev" } };
  });
  await apply(context, updates, deadline);
}

/** Takes back what `ensureBridges` made, in one transaction. */
export async function removeOwnBridges(context: DatapathContext): Promise<RemovedBridges> {
  const deadline = new Deadline(context.timeoutMs);
  const found = await fetchTopology(context.ovsdb, deadline);
  const plugged = found.bridges.flatMap(({ ports }) => ports.filter(port => port.isPod));
  if (plugged.length > 0) return { removed: [], kept: [`${plugged.length} pods are plugged`] };
  const used = findUsed(found);
  const gone = found.bridges.filter(bridge => bridge.isMade && !used.has(bridge));
  const ports = found.bridges
    .filter(bridge => !bridge.isMade && !used.has(bridge))
    .flatMap(bridge => bridge.ports.filter(port => port.isMade).map(port => ({ bridge, port })));
  const operations: Operation[] = [
    ...ports.map(({ bridge, port }) => ({
      op: "mutate",
      table: "Bridge",
      where: [["_uuid", "==", encodeUuid(bridge.uuid)]],
      mutations: [["ports", "delete", encodeUuid(port.uuid)]],
    })),
    ...gone.map(({ uuid }) => ({
      op: "mutate",
      table: "Open_vSwitch",
      where: [["_uuid", "==", encodeUuid(found.uuid)]],
      mutations: [["bridges", "delete", encodeUuid(uuid)]],
    })),
  ];
  if (operations.length > 0) await apply(context, operations, deadline);
  return {
    removed: [...gone.map(({ name }) => `bridge ${name}`), ...ports.map(({ port }) => `port ${port.name}`)],
    kept: [...used].filter(({ isMade }) => isMade).map(({ name }) => `bridge ${name} is in use by others`),
  };
}

/** Bridges that we made and others have put ports into since, and all that these ports reach by patches. */
function findUsed({ bridges }: Topology): Set<OvsBridgeRow> {
  const owner = new Map(bridges.flatMap(bridge => bridge.ports.map(port => [port.name, bridge] as const)));
  const used = new Set(
    bridges.filter(({ name, isMade, ports }) => isMade && ports.some(port => port.name !== name && !port.isMade)),
  );
  // A set's iteration visits what is added meanwhile.
  for (const { ports } of used) {
    for (const { peer } of ports) {
      const next = peer === undefined ? undefined : owner.get(peer);
      if (next !== undefined) used.add(next);
    }
  }
  return used;
}
