import type { DatapathContext } from "../datapath-context.ts";
import { Deadline } from "../deadline.ts";
import { applyOperations } from "../ovsdb/apply.ts";
import type { Operation } from "../ovsdb/client.ts";
import { encodeUuid } from "../ovsdb/value.ts";
import { fetchTopology, findReachable, type OvsBridgeRow, type OvsTopology } from "./topology.ts";

export interface RemovedBridges {
  removed: string[];
  /** What remains, each with its reason. */
  kept: string[];
}

/**
 * Removes what `ensureBridges` made and no other port uses, in one transaction. Nothing while a pod is plugged, or fenced:
 * its bridge remembers its port.
 */
export async function removeOwnBridges(context: DatapathContext): Promise<RemovedBridges> {
  const deadline = new Deadline(context.timeoutMs);
  const found = await fetchTopology(context.ovsdb, deadline);
  const pods = found.bridges.reduce(
    (sum, each) => sum + each.ports.filter(port => port.isPod).length + each.fencedCount,
    0,
  );
  if (pods > 0) return { removed: [], kept: [`${pods} pods are plugged`] };
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
  if (operations.length > 0) await applyOperations(context.ovsdb, operations, deadline);
  return {
    removed: [...gone.map(({ name }) => `bridge ${name}`), ...ports.map(({ port }) => `port ${port.name}`)],
    kept: [...used].filter(({ isMade }) => isMade).map(({ name }) => `bridge ${name} is in use by others`),
  };
}

/** Our bridges that have ports of others, and every bridge that these reach by patch ports. */
function findUsed({ bridges }: OvsTopology): Set<OvsBridgeRow> {
  return findReachable(
    bridges,
    ({ name, isMade, ports }) => isMade && ports.some(port => port.name !== name && !port.isMade),
  );
}
