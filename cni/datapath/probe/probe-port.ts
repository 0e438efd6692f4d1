import { MADE } from "../../external-ids.ts";
import type { DatapathContext } from "../datapath-context.ts";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import { deriveHostMac, deriveProbeInterface } from "../interface-name.ts";
import { writeInterfaceSysctl } from "../kernel/sysctl.ts";
import { fetchLink, type Link, setLinkUp } from "../netlink/link.ts";
import { type OvsdbClient, TransactionError } from "../ovsdb/client.ts";
import {
  addPort,
  fetchPortsOf,
  isAccessPort,
  readInterface,
  select,
  selectInterfaceNamed,
  setAccess,
} from "../ovsdb/ports.ts";
import { type Row, readInteger } from "../ovsdb/value.ts";

/** Where to probe. */
export interface ProbeNetwork {
  bridge: string;
  /** 802.1Q id; 0: untagged. */
  vlan: number;
}

/**
 * The host's own interface on a network, for probes alone: an internal port of the bridge, one a network, which stays.
 * It has no address and answers nothing. Idempotent, also for several processes at once.
 */
export async function ensureProbePort(
  context: DatapathContext,
  network: ProbeNetwork,
  deadline: Deadline,
): Promise<Link & { mac: string }> {
  const name = deriveProbeInterface(network.bridge, network.vlan);
  const host = await context.hostSocket();
  if (!(await isReady(context, network, name, deadline))) await addProbePort(context, network, name, deadline);
  const link = await fetchLink(host, name, deadline);
  if (link?.mac === undefined) throw new DatapathError("probe", `OVS made no interface ${name} on ${network.bridge}`);
  if (!link.up) {
    writeInterfaceSysctl("ipv6", name, "disable_ipv6", 1);
    writeInterfaceSysctl("ipv4", name, "arp_ignore", 8);
    await setLinkUp(host, link.index, deadline);
  }
  return { ...link, mac: link.mac };
}

/** True if the port is there; makes it an access port of its VLAN again if another program has changed it. */
async function isReady(
  { ovsdb }: DatapathContext,
  { vlan }: ProbeNetwork,
  name: string,
  deadline: Deadline,
): Promise<boolean> {
  const [[row] = []] = await select(ovsdb, [selectInterfaceNamed(name)], deadline);
  if (row === undefined) return false;
  const { uuid, ofport = -1 } = readInterface(row);
  const [port] = await fetchPortsOf(ovsdb, [uuid], deadline);
  if (port !== undefined && !isAccessPort(port, vlan)) await setAccess(ovsdb, port, vlan, deadline);
  return ofport > 0;
}

async function addProbePort(
  { ovsdb }: DatapathContext,
  { bridge, vlan }: ProbeNetwork,
  name: string,
  deadline: Deadline,
): Promise<void> {
  try {
    const internalMac = deriveHostMac(name);
    await addPort(ovsdb, { bridge, name, vlan, internalMac, externalIds: MADE }, deadline);
  } catch (error) {
    // Another process has added it at the same time, and waits for OVS as this one does.
    if (!(error instanceof DatapathError && error.cause instanceof TransactionError)) throw error;
    await awaitOfport(ovsdb, name, error, deadline);
  }
}

async function awaitOfport(ovsdb: OvsdbClient, name: string, error: DatapathError, deadline: Deadline): Promise<void> {
  const monitored = { table: "Interface", columns: ["ofport"], where: [["name", "==", name]] };
  const done = (row: Row) => ((readInteger(row, "ofport") ?? -1) > 0 ? true : undefined);
  await ovsdb.waitForRow(
    monitored,
    done,
    async () => undefined,
    deadline,
    () => error,
  );
}
