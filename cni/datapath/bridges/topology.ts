import { EXTERNAL_IDS, isMade, parseFenced } from "../../external-ids.ts";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import type { OvsdbClient } from "../ovsdb/client.ts";
import { select } from "../ovsdb/ports.ts";
import { type Row, readInteger, readMap, readText, readUuid, readUuids, type Uuid } from "../ovsdb/value.ts";

export interface OvsPortRow {
  uuid: Uuid;
  name: string;
  /** Of a patch port: the name of the other end. */
  peer: string | undefined;
  /** Made by the agent; see MADE. */
  isMade: boolean;
  /** A pod's. */
  isPod: boolean;
  /** Of a port that leads out of the node: the MTUs of its interfaces. */
  uplinkMtus: number[];
}

export interface OvsBridgeRow {
  uuid: Uuid;
  name: string;
  /** `system` also where the column is empty, which means the same. */
  datapathType: string;
  isMade: boolean;
  ports: OvsPortRow[];
  /** Pods' ports that the fence has disconnected, which the bridge remembers. */
  fencedCount: number;
}

/** All bridges of the node and how they hang together. */
export interface OvsTopology {
  /** Of the one row of table Open_vSwitch. */
  uuid: Uuid;
  bridges: OvsBridgeRow[];
}

export async function fetchTopology(ovsdb: OvsdbClient, deadline: Deadline): Promise<OvsTopology> {
  const all = (table: string, columns: string[]) => ({ op: "select", table, where: [], columns });
  const [roots = [], bridges = [], ports = [], interfaces = []] = await select(
    ovsdb,
    [
      all("Open_vSwitch", ["_uuid"]),
      all("Bridge", ["_uuid", "name", "datapath_type", "ports", "external_ids"]),
      all("Port", ["_uuid", "name", "interfaces", "external_ids"]),
      all("Interface", ["_uuid", "type", "mtu", "options", "external_ids"]),
    ],
    deadline,
  );
  const [root] = roots;
  if (root === undefined) throw new DatapathError("ovs", "OVSDB is empty; initialise it: ovs-vsctl --no-wait init");
  const byUuid = new Map(interfaces.map(row => [readUuid(row), row]));
  const portRows = new Map(ports.map(row => [readUuid(row), readPort(row, byUuid)]));
  return {
    uuid: readUuid(root),
    bridges: bridges.map(row => readBridge(row, portRows)),
  };
}

export function findPort(topology: OvsTopology, name: string): OvsPortRow | undefined {
  return topology.bridges.flatMap(({ ports }) => ports).find(port => port.name === name);
}

/** Returns these bridges and all that they reach by patch ports. */
export function findReachable(
  bridges: readonly OvsBridgeRow[],
  from: (bridge: OvsBridgeRow) => boolean,
): Set<OvsBridgeRow> {
  const ends = new Map(bridges.flatMap(bridge => bridge.ports.map(port => [port.name, { bridge, port }] as const)));
  const reached = new Set(bridges.filter(from));
  // Iterating a set also visits members added during the iteration.
  for (const { ports } of reached) {
    for (const { name, peer } of ports) {
      const end = peer === undefined ? undefined : ends.get(peer);
      if (end?.port.peer === name) reached.add(end.bridge);
    }
  }
  return reached;
}

function readBridge(row: Row, ports: ReadonlyMap<Uuid, OvsPortRow>): OvsBridgeRow {
  const externalIds = readMap(row, "external_ids");
  return {
    uuid: readUuid(row),
    name: readText(row, "name"),
    datapathType: readText(row, "datapath_type") || "system",
    isMade: isMade(externalIds),
    ports: readUuids(row, "ports").flatMap(uuid => ports.get(uuid) ?? []),
    fencedCount: parseFenced(externalIds).length,
  };
}

function readPort(row: Row, interfaces: ReadonlyMap<Uuid, Row>): OvsPortRow {
  const members = readUuids(row, "interfaces")
    .map(uuid => interfaces.get(uuid))
    .filter(each => each !== undefined);
  return {
    uuid: readUuid(row),
    name: readText(row, "name"),
    peer: members.map(member => readMap(member, "options").peer)[0],
    isMade: isMade(readMap(row, "external_ids")),
    isPod: members.some(member => readMap(member, "external_ids")[EXTERNAL_IDS.sandbox] !== undefined),
    uplinkMtus: members.flatMap(readUplinkMtu),
  };
}

/** Empty for a patch or internal port, and for a workload, which has an `iface-id` (OVS integration guide). */
function readUplinkMtu(row: Row): number[] {
  const type = readText(row, "type");
  const mtu = readInteger(row, "mtu");
  if (type === "patch" || type === "internal" || mtu === undefined) return [];
  return readMap(row, "external_ids")[EXTERNAL_IDS.ifaceId] === undefined ? [mtu] : [];
}
