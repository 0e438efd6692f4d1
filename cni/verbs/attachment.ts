import type { FixedIp, Port, PortAttachment, Route, Sandbox, Segment } from "../../ipam-server/contract/index.ts";
import type { Attachment } from "../datapath/attachment.ts";
import { findIntegrationBridge, type IntegrationBridge } from "../datapath/bridges/integration-bridges.ts";
import type { Probe } from "../datapath/probe/probe.ts";
import { formatPortIds } from "../external-ids.ts";
import { CNI_CODES, CniError } from "../spec/cni-error.ts";
import type { VerbCall } from "./backend.ts";

const MIN_IPV6_MTU = 1280;

/** A granted port and the network facts needed to plug it. */
interface AttachmentPlan {
  port: Port;
  segment: Segment;
  mtu: number;
  routes: Route[];
  inactive?: true;
}

export function deriveAttachment(
  plan: AttachmentPlan,
  { config, invocation, backend }: VerbCall,
  netns: string,
): Attachment {
  const { port, segment, routes, inactive } = plan;
  const { epoch, ownerUid } = findBinding(plan);
  assertMtuFits(config.mtu, port);
  return {
    netns,
    sandboxId: invocation.containerId,
    containerInterface: invocation.ifname,
    bridge: findBridge(backend.findBridges(config), port.network, segment),
    ...(segment.type === "vlan" && { vlan: segment.id }),
    mac: port.mac,
    mtu: config.mtu || plan.mtu,
    addresses: port.fixedIps.map(({ address, prefixLength, gateway }) => ({
      ...{ address, prefixLength },
      ...(gateway !== undefined && { gateway }),
    })),
    routes: routes.map(({ dst, gw }) => ({ dst, ...(gw !== undefined && { gw }) })),
    ...(inactive && { isSilent: inactive }),
    externalIds: formatPortIds({
      portName: port.name,
      portId: port.id,
      epoch,
      network: config.name,
      physicalNetwork: segment.physicalNetwork,
      ...(ownerUid !== undefined && { ownerUid }),
    }),
  };
}

/** What the claim got: the port's ACTIVE binding or, for a migration's target, its INACTIVE one. */
export function findBinding({ port, inactive }: Pick<PortAttachment, "port" | "inactive">): {
  epoch: number;
  ownerUid?: string;
  sandbox?: Sandbox;
} {
  const { epoch, owner, binding, inactiveBinding } = port;
  if (inactive && inactiveBinding) return inactiveBinding;
  return { epoch, ...(owner && { ownerUid: owner.uid }), ...(binding?.sandbox && { sandbox: binding.sandbox }) };
}

export const deriveProbe = ({ bridge, vlan = 0, addresses, mac }: Attachment): Probe => ({
  bridge,
  vlan,
  addresses: addresses.map(({ address }) => address),
  mac,
});

/** True if both plug alike: same port id, binding, addresses and network. */
export function isSameBinding(a: PortAttachment, b: PortAttachment): boolean {
  const facts = (attachment: PortAttachment) => {
    const { port, segment, mtu, routes, inactive } = attachment;
    const { epoch } = findBinding(attachment);
    return JSON.stringify([port.id, epoch, inactive, port.mac, port.fixedIps, segment, mtu, routes]);
  };
  return facts(a) === facts(b);
}

function findBridge(bridges: readonly IntegrationBridge[], network: string, { physicalNetwork }: Segment): string {
  const bridge = findIntegrationBridge(bridges, physicalNetwork);
  if (bridge !== undefined) return bridge;
  const has = bridges.map(each => each.physicalNetwork).join(", ");
  const message = `network ${network} is on the physical network ${physicalNetwork}, but the bridge mappings have only ${has}`;
  throw new CniError(CNI_CODES.invalidConfig, message);
}

/** The kernel refuses IPv6 on a link below its minimum with EINVAL, after half of an ADD (RFC 8200 section 5). */
function assertMtuFits(mtu: number, { name, fixedIps }: Port): void {
  const ipv6 = fixedIps.find(({ address }) => address.includes(":"));
  if (ipv6 === undefined || mtu === 0 || mtu >= MIN_IPV6_MTU) return;
  const why = `port ${name} has the IPv6 address ${ipv6.address}, which needs ${MIN_IPV6_MTU} or more`;
  throw new CniError(CNI_CODES.invalidConfig, `network configuration: "mtu" is ${mtu}, but ${why}`);
}

export function formatCidr({ address, prefixLength }: FixedIp): string {
  return `${address}/${prefixLength}`;
}
