import { formatFenced, formatFencedKey, formatSandboxIds, type SandboxIds } from "../../external-ids.ts";
import type { Deadline } from "../deadline.ts";
import type { OvsdbClient } from "./client.ts";
import {
  dropFenced,
  fetchPortsOf,
  type NewPort,
  readInterface,
  removePorts,
  select,
  selectInterfaces,
} from "./ports.ts";
import { encodeMap, readMap } from "./value.ts";

/**
 * Removes the ports of this identity, and records them in their bridges in the same transaction, because OVSDB deletes
 * the rows. False if there is no port.
 */
export async function fencePorts(client: OvsdbClient, identity: SandboxIds, deadline: Deadline): Promise<boolean> {
  const [rows = []] = await select(client, [selectInterfaces(identity)], deadline);
  const own = rows.map(readInterface);
  const [row] = own;
  if (row === undefined) return false;
  const record = formatFenced(identity, {
    hostInterface: row.name,
    externalIds: { ...row.externalIds, ...formatSandboxIds(identity) },
  });
  // OVSDB inserts no key that exists.
  const remember = [...dropFenced(identity).mutations, ["external_ids", "insert", encodeMap(record)]];
  const ports = await fetchPortsOf(
    client,
    own.map(({ uuid }) => uuid),
    deadline,
  );
  await removePorts(client, ports, deadline, remember);
  return true;
}

/** Records in the bridge a port that was never on it, as `fencePorts` records one that was. */
export async function recordFenced(
  client: OvsdbClient,
  { bridge, name, externalIds, identity }: Omit<NewPort, "vlan" | "identity"> & { identity: SandboxIds },
  deadline: Deadline,
): Promise<void> {
  const ids = { ...externalIds, ...formatSandboxIds(identity) };
  const record = formatFenced(identity, { hostInterface: name, externalIds: ids, isSilent: true });
  const insert = [["external_ids", "insert", encodeMap(record)]];
  const where = [["name", "==", bridge]];
  // OVSDB inserts no key that exists.
  await select(client, [dropFenced(identity), { op: "mutate", table: "Bridge", where, mutations: insert }], deadline);
}

/** Drops the record of a fenced port. True if there was one. */
export async function removeFenced(client: OvsdbClient, identity: SandboxIds, deadline: Deadline): Promise<boolean> {
  const key = formatFencedKey(identity);
  const selectBridges = { op: "select", table: "Bridge", where: [], columns: ["external_ids"] };
  const [bridges = []] = await select(client, [selectBridges], deadline);
  if (!bridges.some(row => Object.hasOwn(readMap(row, "external_ids"), key))) return false;
  await select(client, [dropFenced(identity)], deadline);
  return true;
}
