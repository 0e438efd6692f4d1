import { type FencedPort, isMade, parseExternalIds, parseFenced } from "../external-ids.ts";
import type { PluggedPort } from "./attachment.ts";
import type { DatapathContext } from "./datapath-context.ts";
import { Deadline } from "./deadline.ts";
import { findAccessDifferences } from "./differences.ts";
import * as ovs from "./ovsdb/ports.ts";
import { type Row, readMap, readText, readUuids } from "./ovsdb/value.ts";

/** Lists Mooring's ports on all bridges, identified by their external_ids. */
export async function list({ ovsdb, timeoutMs }: DatapathContext): Promise<PluggedPort[]> {
  const [bridges = [], ports = [], interfaces = []] = await ovs.select(
    ovsdb,
    [
      { op: "select", table: "Bridge", where: [], columns: ["name", "ports", "external_ids"] },
      { op: "select", table: "Port", where: [], columns: ovs.PORT_COLUMNS },
      { op: "select", table: "Interface", where: [], columns: ["_uuid", "name", "ofport", "error", "external_ids"] },
    ],
    new Deadline(timeoutMs),
  );
  const bridgeOf = new Map(bridges.flatMap(row => readUuids(row, "ports").map(uuid => [uuid, row] as const)));
  const rows = new Map(interfaces.map(entry => ovs.readInterface(entry)).map(entry => [entry.uuid, entry]));
  const plugged = ports.map(ovs.readPort).flatMap(port => {
    const bridge = bridgeOf.get(port.uuid);
    if (bridge === undefined) return [];
    return port.interfaceUuids.map(uuid => toPluggedPort(bridge, port, rows.get(uuid)));
  });
  const fenced = bridges.flatMap(row => parseFenced(readMap(row, "external_ids")).map(port => toFencedPort(row, port)));
  return [...plugged, ...fenced].filter(port => port !== undefined);
}

const factsOf = (bridge: Row) => ({
  bridge: readText(bridge, "name"),
  isBridgeMade: isMade(readMap(bridge, "external_ids")),
});

function toFencedPort(bridge: Row, { hostInterface, externalIds, isSilent }: FencedPort): PluggedPort | undefined {
  const { sandboxId, containerInterface, vlan } = parseExternalIds(externalIds);
  if (sandboxId === undefined || containerInterface === undefined) return undefined;
  const identity = { sandboxId, containerInterface };
  const port = { hostInterface, ...factsOf(bridge), ...identity, ofport: undefined, vlan, externalIds };
  return { ...port, isFenced: true, ...(isSilent && { isSilent }) };
}

function toPluggedPort(bridge: Row, port: ovs.OvsPort, row: ovs.OvsInterface | undefined): PluggedPort | undefined {
  if (row === undefined) return undefined;
  const { name: hostInterface, externalIds } = row;
  const { sandboxId, containerInterface, vlan } = parseExternalIds(externalIds);
  if (sandboxId === undefined || containerInterface === undefined) return undefined;
  const ofport = row.ofport !== undefined && row.ofport > 0 ? row.ofport : undefined;
  const [difference] = vlan === undefined ? [] : findAccessDifferences(port, vlan);
  const wrongVlan = difference && `${difference.found}, not ${difference.expected}`;
  const plugged = {
    hostInterface,
    ...factsOf(bridge),
    sandboxId,
    containerInterface,
    isFenced: false,
    ofport,
    vlan: vlan ?? port.access.tag,
    externalIds,
  };
  return wrongVlan === undefined ? plugged : { ...plugged, wrongVlan };
}
