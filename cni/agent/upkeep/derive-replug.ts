import type { Port, Segment } from "../../../ipam-server/contract/index.ts";
import { findIntegrationBridge, type IntegrationBridge } from "../../datapath/bridges/integration-bridges.ts";
import type { Replug } from "../../datapath/node-datapath.ts";
import { formatPortIds } from "../../external-ids.ts";
import { NETWORK_NAME } from "../install/cni-configuration.ts";
import type { LocalPort, OvsSide } from "./local-port.ts";

/** Returns the port of a live sandbox as the IPAM has it, with the addresses that the pod uses. */
export function deriveReplug(
  local: LocalPort,
  port: Port,
  segment: Segment,
  bridges: readonly IntegrationBridge[],
): Replug {
  const { physicalNetwork } = segment;
  const bridge = findIntegrationBridge(bridges, physicalNetwork);
  if (bridge === undefined) {
    throw new Error(`port ${port.name} is on the physical network ${physicalNetwork}, which --bridge-mappings lacks`);
  }
  const { sandboxId, containerInterface } = local;
  const known = local.ovs ?? local.lastKnown;
  return {
    sandboxId,
    containerInterface,
    bridge,
    ...(segment.type === "vlan" && { vlan: segment.id }),
    mac: port.mac,
    // The pod's addresses, even if the IPAM has others now.
    addresses: known?.addresses.length ? known.addresses.map(address => ({ address, prefixLength: 0 })) : port.fixedIps,
    ...(known?.netns !== undefined && { netns: known.netns }),
    externalIds: formatPortIds({
      portName: port.name,
      portId: port.id,
      epoch: port.epoch,
      network: known?.network ?? NETWORK_NAME,
      physicalNetwork,
      ...(port.owner !== undefined && { ownerUid: port.owner.uid }),
    }),
  };
}

/** Returns the port as OVS has or had it, on its own bridge; undefined if too little of it is known. */
export function deriveRestore(
  { sandboxId, containerInterface }: LocalPort,
  known: OvsSide | undefined,
  bridges: readonly IntegrationBridge[],
): Replug | undefined {
  const { portName, portId, epoch, mac, netns, network, physicalNetwork, ownerUid } = known ?? {};
  if (known === undefined || portName === undefined || mac === undefined) return undefined;
  const isOnly = physicalNetwork === undefined && bridges.length === 1;
  const bridge = isOnly ? bridges[0]?.name : findIntegrationBridge(bridges, physicalNetwork ?? "");
  if (bridge === undefined) return undefined;
  const vlan = known.recordedVlan ?? known.vlan;
  return {
    sandboxId,
    containerInterface,
    bridge,
    ...(vlan !== undefined && { vlan }),
    mac,
    addresses: known.addresses.map(address => ({ address, prefixLength: 0 })),
    ...(netns !== undefined && { netns }),
    externalIds: formatPortIds({
      portName,
      network: network ?? NETWORK_NAME,
      ...(physicalNetwork !== undefined && { physicalNetwork }),
      ...(portId !== undefined && { portId }),
      ...(epoch !== undefined && { epoch }),
      ...(ownerUid !== undefined && { ownerUid }),
    }),
  };
}
