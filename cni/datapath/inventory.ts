import { type FencedPort, parseExternalIds, parseFenced } from "../external-ids.ts";
import type { PluggedPort } from "./attachment.ts";
import type { DatapathContext } from "./datapath-context.ts";
import { Deadline } from "./deadline.ts";
import { findAccessDifferences } from "./differences.ts";
import * as ovs from "./ovsdb/ports.ts";
import { readMap, readUuids } from "./ovsdb/value.ts";

/** Lists Mooring's ports on one bridge, identified by their external_ids. */
export async function list({ ovsdb, timeoutMs }: DatapathContext, bridge: string): Promise<PluggedPort[]> {
  const [bridges = [], ports = [], interfaces = []] = await ovs.select(
    ovsdb,
    [
      { op: "select", table: "Bridge", where: [["name", "==", bridge]], columns: ["ports", "external_ids"] },
      { op: "select", table: "Port", where: [], columns: ovs.PORT_COLUMNS },
      { op: "select", table: "Interface", where: [], columns: ["_uuid", "name", "ofport", "error", "external_ids"] },
    ],
    new Deadline(timeoutMs),
  );
  const [row] = bridges;
  if (row === undefined) throw ovs.missingBridge(bridge);
  const members = new Set(readUuids(row, "ports"));
  const rows = new Map(interfaces.map(entry => ovs.readInterface(entry)).map(entry => [entry.uuid, entry]));
  const plugged = ports
    .map(ovs.readPort)
    .filter(port => members.has(port.uuid))
    .flatMap(port => port.interfaceUuids.map(uuid => toPluggedPort(bridge, port, rows.get(uuid))))
    .filter(port => port !== undefined);
  const fenced = parseFenced(readMap(row, "external_ids")).map(port => toFencedPort(bridge, port));
  return [...plugged, ...fenced.filter(port => port !== undefined)];
}

function toFencedPort(bridge: string, { hostInterface, externalIds }: FencedPort): PluggedPort | undefined {
  const { sandboxId, containerInterface, vlan } = parseExternalIds(externalIds);
  if (sandboxId === undefined || containerInterface === undefined) return undefined;
  return { hostInterface, bridge, sandboxId, containerInterface, isFenced: true, ofport: undefined, vlan, externalIds };
}

function toPluggedPort(bridge: string, port: ovs.OvsPort, row: ovs.OvsInterface | undefined): PluggedPort | undefined {
  if (row === undefined) return undefined;
  const { name: hostInterface, externalIds } = row;
  const { sandboxId, containerInterface, vlan } = parseExternalIds(externalIds);
  if (sandboxId === undefined || containerInterface === undefined) return undefined;
  const ofport = row.ofport !== undefined && row.ofport > 0 ? row.ofport : undefined;
  const [difference] = vlan === undefined ? [] : findAccessDifferences(port, vlan);
  const wrongVlan = difference && `${difference.found}, not ${difference.expected}`;
  const plugged = {
    hostInterface,
    bridge,
    sandboxId,
    containerInterface,
    isFenced: false,
    ofport,
    vlan: vlan ?? port.access.tag,
    externalIds,
  };
  return wrongVlan === undefined ? plugged : { ...plugged, wrongVlan };
}
