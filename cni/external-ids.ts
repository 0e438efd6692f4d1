/** Every key of OVS `external_ids` that Mooring reads or writes. `iface-id`, `attached-mac`: the OVS integration guide. */
export const EXTERNAL_IDS = {
  ifaceId: "iface-id",
  attachedMac: "attached-mac",
  port: "mooring-port",
  portId: "mooring-port-id",
  epoch: "mooring-epoch",
  network: "mooring-network",
  physicalNetwork: "mooring-physical-network",
  owner: "mooring-owner",
  sandbox: "mooring-sandbox",
  interface: "mooring-interface",
  netns: "mooring-netns",
  addresses: "mooring-addresses",
  vlan: "mooring-vlan",
  made: "mooring-made",
} as const;

export type ExternalIds = Record<string, string>;

/** The CNI identity of an attachment: CNI_CONTAINERID and CNI_IFNAME. */
export interface SandboxIds {
  sandboxId: string;
  containerInterface: string;
}

/** The IPAM's port that an Interface row serves. */
interface PortIds {
  portName: string;
  portId?: string;
  epoch?: number;
  /** Name of the CNI network configuration. */
  network: string;
  /** Absent: plugged before it was recorded. */
  physicalNetwork?: string;
  ownerUid?: string;
}

/** What the agent restores a port from after OVSDB was lost. */
interface RecoveryIds {
  mac: string;
  addresses: readonly string[];
  /** The access port's tag; 0 is untagged. */
  vlan: number;
  /** Absent: no longer known. */
  netns?: string;
}

/** All that `parseExternalIds` finds; a field is absent if its key is. */
interface ParsedIds extends Partial<SandboxIds & PortIds & Omit<RecoveryIds, "addresses">> {
  addresses: string[];
}

/** Marks every row that Mooring made besides the pods' ports; a row without it belongs to others. */
export const MADE: ExternalIds = { [EXTERNAL_IDS.made]: "true" };

export function isMade(ids: ExternalIds): boolean {
  return ids[EXTERNAL_IDS.made] === "true";
}

export function formatSandboxIds({ sandboxId, containerInterface }: SandboxIds): ExternalIds {
  return { [EXTERNAL_IDS.sandbox]: sandboxId, [EXTERNAL_IDS.interface]: containerInterface };
}

export function formatPortIds({ portName, portId, epoch, network, physicalNetwork, ownerUid }: PortIds): ExternalIds {
  return {
    [EXTERNAL_IDS.port]: portName,
    ...(portId !== undefined && { [EXTERNAL_IDS.portId]: portId }),
    ...(epoch !== undefined && { [EXTERNAL_IDS.epoch]: String(epoch) }),
    [EXTERNAL_IDS.network]: network,
    ...(physicalNetwork !== undefined && { [EXTERNAL_IDS.physicalNetwork]: physicalNetwork }),
    ...(ownerUid !== undefined && { [EXTERNAL_IDS.owner]: ownerUid }),
  };
}

const FENCED_PREFIX = "mooring-fenced:";

/** A fenced port, as its bridge remembers it: it has no row of its own. */
export interface FencedPort {
  hostInterface: string;
  externalIds: ExternalIds;
  /** True: it was plugged without traffic and never connected, as the target of a migration. */
  isSilent?: true;
}

/** The key of a fenced port in the `external_ids` of its bridge. */
export function formatFencedKey({ sandboxId, containerInterface }: SandboxIds): string {
  return `${FENCED_PREFIX}${sandboxId}/${containerInterface}`;
}

export function formatFenced(identity: SandboxIds, port: FencedPort): ExternalIds {
  return { [formatFencedKey(identity)]: JSON.stringify(port) };
}

/** Never throws: entries that others have damaged are left out. */
export function parseFenced(bridgeIds: ExternalIds): FencedPort[] {
  return Object.entries(bridgeIds)
    .filter(([key]) => key.startsWith(FENCED_PREFIX))
    .map(([, value]) => parseFencedPort(value))
    .filter(port => port !== undefined);
}

function parseFencedPort(text: string): FencedPort | undefined {
  try {
    const { hostInterface, externalIds, isSilent }: { [key: string]: unknown } = Object(JSON.parse(text));
    const ids = Object.entries(Object(externalIds)).filter(
      (entry): entry is [string, string] => typeof entry[1] === "string",
    );
    if (typeof hostInterface !== "string") return undefined;
    const port = { hostInterface, externalIds: Object.fromEntries(ids) };
    return isSilent === true ? { ...port, isSilent } : port;
  } catch {
    return undefined;
  }
}

/** `iface-id` is the port's name, or the sandbox's id where the port has none. */
export function formatRecoveryIds({ mac, addresses, vlan, netns }: RecoveryIds, ifaceId: string): ExternalIds {
  return {
    [EXTERNAL_IDS.ifaceId]: ifaceId,
    [EXTERNAL_IDS.attachedMac]: mac,
    ...(netns !== undefined && { [EXTERNAL_IDS.netns]: netns }),
    [EXTERNAL_IDS.addresses]: addresses.join(","),
    [EXTERNAL_IDS.vlan]: String(vlan),
  };
}

/** Never throws: others write these columns too, so an epoch that is no integer is left out. */
export function parseExternalIds(ids: ExternalIds): ParsedIds {
  const epoch = Number(ids[EXTERNAL_IDS.epoch]);
  const vlan = /^\d{1,4}$/.test(ids[EXTERNAL_IDS.vlan] ?? "") ? Number(ids[EXTERNAL_IDS.vlan]) : undefined;
  const text = (key: string, field: keyof ParsedIds) => (ids[key] === undefined ? {} : { [field]: ids[key] });
  return {
    addresses: ids[EXTERNAL_IDS.addresses]?.split(",").filter(each => each !== "") ?? [],
    ...(Number.isSafeInteger(epoch) && { epoch }),
    ...(vlan !== undefined && { vlan }),
    ...text(EXTERNAL_IDS.attachedMac, "mac"),
    ...text(EXTERNAL_IDS.port, "portName"),
    ...text(EXTERNAL_IDS.portId, "portId"),
    ...text(EXTERNAL_IDS.owner, "ownerUid"),
    ...text(EXTERNAL_IDS.network, "network"),
    ...text(EXTERNAL_IDS.physicalNetwork, "physicalNetwork"),
    ...text(EXTERNAL_IDS.netns, "netns"),
    ...text(EXTERNAL_IDS.sandbox, "sandboxId"),
    ...text(EXTERNAL_IDS.interface, "containerInterface"),
  };
}
