import { formatFencedKey, formatSandboxIds, type SandboxIds } from "../../external-ids.ts";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import { type Operation, type OperationResult, type OvsdbClient, TransactionError } from "./client.ts";
import {
  encodeMap,
  encodeUuid,
  type Row,
  readInteger,
  readIntegers,
  readMap,
  readText,
  readUuid,
  readUuids,
  type Uuid,
} from "./value.ts";

/** The columns of Port that decide which VLANs it sends and receives (ovs-vswitchd.conf.db(5), "VLAN Configuration"). */
interface AccessColumns {
  tag: number | undefined;
  /** Empty: OVS derives the mode from tag and trunks, and a port without either is a trunk of all VLANs. */
  mode: string;
  trunks: number[];
}

/** An access port with one interface; both rows are named after the host link. */
export interface OvsPort {
  uuid: Uuid;
  name: string;
  access: AccessColumns;
  interfaceUuids: Uuid[];
}

export interface OvsInterface {
  uuid: Uuid;
  name: string;
  /** -1 while OVS cannot use the device; absent until it has tried. */
  ofport: number | undefined;
  /** Why OVS cannot use the device; empty if it can. */
  error: string;
  externalIds: Record<string, string>;
}

export interface OvsBridge {
  name: string;
  /** True for the userspace datapath. */
  netdev: boolean;
}

export interface NewPort {
  bridge: string;
  name: string;
  /** 802.1Q id; 0: untagged. */
  vlan: number;
  externalIds: Record<string, string>;
  identity?: SandboxIds;
  /** OVS makes the interface, with this MAC. Absent: it opens the device of that name. */
  internalMac?: string;
}

export const PORT_COLUMNS = ["_uuid", "name", "tag", "vlan_mode", "trunks", "interfaces"];
const INTERFACE_COLUMNS = ["_uuid", "name", "ofport", "error", "external_ids"];

export function selectBridge(name: string): Operation {
  return { op: "select", table: "Bridge", where: [["name", "==", name]], columns: ["name", "datapath_type"] };
}

/** Returns the name of the bridge that contains the port; undefined if none does. */
export async function fetchBridgeOf(
  client: OvsdbClient,
  port: OvsPort,
  deadline: Deadline,
): Promise<string | undefined> {
  const where = [["ports", "includes", encodeUuid(port.uuid)]];
  const [rows = []] = await select(client, [{ op: "select", table: "Bridge", where, columns: ["name"] }], deadline);
  return rows.map(row => readText(row, "name"))[0];
}

/** Selects the Port rows that refer to these interfaces. */
function selectPortsOf(interfaces: readonly Uuid[]): Operation[] {
  return interfaces.map(uuid => {
    const where = [["interfaces", "includes", encodeUuid(uuid)]];
    return { op: "select", table: "Port", where, columns: PORT_COLUMNS };
  });
}

export function selectInterfaces(identity: SandboxIds): Operation {
  const where = [["external_ids", "includes", encodeMap(formatSandboxIds(identity))]];
  return { op: "select", table: "Interface", where, columns: INTERFACE_COLUMNS };
}

export function selectInterfaceNamed(name: string): Operation {
  return { op: "select", table: "Interface", where: [["name", "==", name]], columns: INTERFACE_COLUMNS };
}

export const selectConfigured: Operation = {
  op: "select",
  table: "Open_vSwitch",
  where: [],
  columns: ["next_cfg", "cur_cfg"],
};

export function readBridge(row: Row): OvsBridge {
  return { name: readText(row, "name"), netdev: readText(row, "datapath_type") === "netdev" };
}

export function readPort(row: Row): OvsPort {
  return {
    uuid: readUuid(row),
    name: readText(row, "name"),
    access: {
      tag: readInteger(row, "tag"),
      mode: readText(row, "vlan_mode"),
      trunks: readIntegers(row, "trunks"),
    },
    interfaceUuids: readUuids(row, "interfaces"),
  };
}

export function readInterface(row: Row): OvsInterface {
  return {
    uuid: readUuid(row),
    name: readText(row, "name"),
    ofport: readInteger(row, "ofport"),
    error: readText(row, "error"),
    externalIds: readMap(row, "external_ids"),
  };
}

/** The error of a missing bridge, with the remedy. */
export function missingBridge(bridge: string): DatapathError {
  const message = `the OVS bridge ${bridge} does not exist; create it (ovs-vsctl add-br ${bridge}) or name another in the configuration`;
  return new DatapathError("bridge", message);
}

/** Drops the record of a fenced port; see `fencePorts`. Changes nothing if there is none. */
export function dropFenced(identity: SandboxIds) {
  const mutations: unknown[][] = [["external_ids", "delete", ["set", [formatFencedKey(identity)]]]];
  return { op: "mutate", table: "Bridge", where: [], mutations };
}

/** Adds an access port in one transaction and resolves with the `ofport` that OVS assigned. */
export async function addPort(client: OvsdbClient, port: NewPort, deadline: Deadline): Promise<number> {
  const { identity, internalMac } = port;
  // Where Mooring looks for what it made besides pods' ports.
  const made = identity ? {} : { external_ids: encodeMap(port.externalIds) };
  const rows = [{ name: port.bridge }];
  const bridge = [["name", "==", port.bridge]];
  const operations: Operation[] = [
    { op: "wait", table: "Bridge", timeout: 0, where: bridge, columns: ["name"], until: "==", rows },
    {
      op: "insert",
      table: "Interface",
      "uuid-name": "interface",
      row: {
        name: port.name,
        external_ids: encodeMap({ ...port.externalIds, ...(identity && formatSandboxIds(identity)) }),
        ...(internalMac !== undefined && { type: "internal", mac: internalMac }),
      },
    },
    {
      op: "insert",
      table: "Port",
      "uuid-name": "port",
      row: { name: port.name, interfaces: ["named-uuid", "interface"], ...accessRow(port.vlan), ...made },
    },
    { op: "mutate", table: "Bridge", where: bridge, mutations: [["ports", "insert", ["named-uuid", "port"]]] },
    ...(identity ? [dropFenced(identity)] : []),
  ];
  const plug = async () => {
    try {
      await client.transact(operations, deadline);
    } catch (error) {
      if (!(error instanceof TransactionError)) throw error;
      if (error.operation === 0) throw missingBridge(port.bridge);
      throw new DatapathError("ovs", `OVSDB rejected adding ${port.name} to ${port.bridge}: ${error.message}`, error);
    }
  };
  const late = () =>
    new DatapathError(
      "ofport",
      `OVS gave ${port.name} no ofport on ${port.bridge} within ${deadline.timeoutMs} ms; is ovs-vswitchd running?`,
    );
  const monitored = { table: "Interface", columns: ["ofport", "error"], where: [["name", "==", port.name]] };
  return client.waitForRow(monitored, row => readOfport(row, port), plug, deadline, late);
}

/** Lists the ports of this identity on any bridge; more than one only if others changed OVSDB. */
export async function fetchPorts(client: OvsdbClient, identity: SandboxIds, deadline: Deadline): Promise<OvsPort[]> {
  const [rows = []] = await select(client, [selectInterfaces(identity)], deadline);
  return fetchPortsOf(
    client,
    rows.map(row => readUuid(row)),
    deadline,
  );
}

export async function fetchPortsOf(
  client: OvsdbClient,
  interfaces: readonly Uuid[],
  deadline: Deadline,
): Promise<OvsPort[]> {
  if (interfaces.length === 0) return [];
  return (await select(client, selectPortsOf(interfaces), deadline)).flat().map(readPort);
}

/**
 * Removes ports from any bridge; OVSDB deletes their unreferenced rows. Increments `next_cfg` and resolves with it, so
 * that a later plug of the same name can wait until ovs-vswitchd has released the device.
 *
 * @param alongside further mutations of the bridges that have the ports
 */
export async function removePorts(
  client: OvsdbClient,
  ports: readonly OvsPort[],
  deadline: Deadline,
  alongside: readonly unknown[] = [],
): Promise<number> {
  const removals = ports.map(({ uuid }) => ({
    op: "mutate",
    table: "Bridge",
    where: [["ports", "includes", encodeUuid(uuid)]],
    mutations: [["ports", "delete", encodeUuid(uuid)], ...alongside],
  }));
  const count = { op: "mutate", table: "Open_vSwitch", where: [], mutations: [["next_cfg", "+=", 1]] };
  const operations = [...removals, count, selectConfigured];
  const results = await toOvsError(client.transact(operations, deadline), "removing a port");
  const [configured = {}] = results.at(operations.length - 1)?.rows ?? [];
  return readInteger(configured, "next_cfg") ?? 0;
}

/** Replaces the external_ids of an interface. */
export async function setExternalIds(
  client: OvsdbClient,
  uuid: Uuid,
  identity: SandboxIds,
  externalIds: Record<string, string>,
  deadline: Deadline,
): Promise<void> {
  const row = { external_ids: encodeMap({ ...externalIds, ...formatSandboxIds(identity) }) };
  const update = { op: "update", table: "Interface", where: [["_uuid", "==", encodeUuid(uuid)]], row };
  await toOvsError(client.transact([update], deadline), "changing external_ids");
}

/** Makes an existing port an access port of the VLAN again, without a gap in its traffic. */
export async function setAccess(client: OvsdbClient, port: OvsPort, vlan: number, deadline: Deadline): Promise<void> {
  const where = [["_uuid", "==", encodeUuid(port.uuid)]];
  const update = { op: "update", table: "Port", where, row: accessRow(vlan) };
  await toOvsError(client.transact([update], deadline), "change a port's VLAN");
}

export function isAccessPort({ access }: OvsPort, vlan: number): boolean {
  return access.tag === vlan && access.mode === "access" && access.trunks.length === 0;
}

export function formatAccess({ tag, mode, trunks }: AccessColumns): string {
  return `tag=${tag ?? "none"} vlan_mode=${mode || "none"} trunks=${trunks.length > 0 ? trunks.join(",") : "none"}`;
}

/** The mode is always set: without it, a port that loses its tag becomes a trunk of every VLAN. */
function accessRow(vlan: number): Record<string, unknown> {
  return { tag: vlan, vlan_mode: "access", trunks: ["set", []] };
}

/** Resolves when ovs-vswitchd has applied every change up to `nextCfg`. */
export async function waitForConfigured(client: OvsdbClient, nextCfg: number, deadline: Deadline): Promise<void> {
  const late = () =>
    new DatapathError(
      "ovs",
      `ovs-vswitchd has not applied earlier changes within ${deadline.timeoutMs} ms; is it running?`,
    );
  const monitored = { table: "Open_vSwitch", columns: ["cur_cfg"], where: [] };
  const done = (row: Row) => ((readInteger(row, "cur_cfg") ?? 0) >= nextCfg ? true : undefined);
  await client.waitForRow(monitored, done, async () => undefined, deadline, late);
}

/** Runs selects and returns the rows of each. */
export async function select(client: OvsdbClient, operations: Operation[], deadline: Deadline): Promise<Row[][]> {
  const results = await toOvsError(client.transact(operations, deadline), "a query");
  return results.map(result => result.rows ?? []);
}

function readOfport(row: Row, port: NewPort): number | undefined {
  const error = readText(row, "error");
  if (error !== "") throw new DatapathError("ofport", `OVS cannot use ${port.name} on ${port.bridge}: ${error}`);
  const ofport = readInteger(row, "ofport");
  return ofport !== undefined && ofport > 0 ? ofport : undefined;
}

async function toOvsError(work: Promise<OperationResult[]>, what: string): Promise<OperationResult[]> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof TransactionError)
      throw new DatapathError("ovs", `OVSDB rejected ${what}: ${error.message}`, error);
    throw error;
  }
}
