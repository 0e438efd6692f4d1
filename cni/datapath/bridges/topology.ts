import { EXTERNAL_IDS, isMade } from "../../external-ids.ts";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import type { OvsdbClient } from "../ovsdb/client.ts";
import { select } from "../ovsdb/ports.ts";
import { type Row, readMap, readText, readUuid, readUuids, type Uuid } from "../ovsdb/value.ts";

export interface OvsPortRow {
  uuid: Uuid;
  name: string;
  /** Of a patch port: the name of the other end. */
  peer: string | undefined;
  /** Made by the agent; see MADE. */
  isMade: boolean;
  /** A pod's. */
  isPod: boolean;
}

export interface OvsBridgeRow {
  uuid: Uuid;
  name: string;
  /** `system` also where the column is empty, which means the same. */
  datapathType: string;
  isMade: boolean;
  ports: OvsPortRow[];
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
      all("Interface", ["_uuid", "options", "external_ids"]),
    ],
    deadline,
  );
  const [root] = roots;
  if (root === undefined) throw new DatapathError("ovs", "OVSDB is empty; initialise it: ovs-vsctl --no-wait init");
  const byUuid = new Map(interfaces.map(row => [readUuid(row), row]));
  const portRows = new Map(ports.map(row => [readUuid(row), readPort(row, byUuid)]));
  return {
    uuid: readUuid(root),
    bridges: bridges.map(row => ({
      uuid: readUuid(row),
      name: readText(row, "name"),
      datapathType: readText(row, "datapath_type") || "system",
      isMade: isMade(readMap(row, "external_ids")),
      ports: readUuids(row, "ports").flatMap(uuid => portRows.get(uuid) ?? []),
    })),
  };
}

export function findPort(topology: OvsTopology, name: string): OvsPortRow | undefined {
  return topology.bridges.flatMap(({ ports }) => ports).find(port => port.name === name);
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
  };
}
