import type { FixedIp, Port, PortAttachment, Route, Segment } from "../../ipam-server/contract/index.ts";
import type { Attachment } from "../datapath/attachment.ts";
import { formatPortIds } from "../external-ids.ts";
import type { NetworkConfig } from "../spec/config.ts";
import type { Invocation } from "../spec/environment.ts";

const HOST_DEFAULT_MTU = 1500;

/** A granted port and the network facts needed to plug it. */
export interface AttachmentPlan {
  port: Port;
  segment: Segment;
  mtu: number;
  routes: Route[];
  previousBindingReleased: boolean;
}

export function deriveAttachment(
  plan: AttachmentPlan,
  config: NetworkConfig,
  invocation: Invocation,
  netns: string,
): Attachment {
  const { port, segment, routes, previousBindingReleased } = plan;
  return {
    netns,
    sandboxId: invocation.containerId,
    containerInterface: invocation.ifname,
    bridge: config.bridge,
    ...(segment.type === "vlan" && { vlan: segment.id }),
    mac: port.mac,
    mtu: config.mtu || plan.mtu || HOST_DEFAULT_MTU,
    addresses: port.fixedIps.map(({ address, prefixLength }) => ({ address, prefixLength })),
    routes: routes.map(({ dst, gw }) => ({ dst, ...(gw !== undefined && { gw }) })),
    skipDad: previousBindingReleased,
    externalIds: formatPortIds({
      portName: port.name,
      portId: port.id,
      epoch: port.epoch,
      network: config.name,
      ...(port.owner !== undefined && { ownerUid: port.owner.uid }),
    }),
  };
}

/** True if both plug alike: same port id, epoch, addresses and network. */
export function isSameBinding(a: PortAttachment, b: PortAttachment): boolean {
  const facts = ({ port, segment, mtu, routes }: PortAttachment) =>
    JSON.stringify([port.id, port.epoch, port.mac, port.fixedIps, segment, mtu, routes]);
  return facts(a) === facts(b);
}

export function formatCidr({ address, prefixLength }: FixedIp): string {
  return `${address}/${prefixLength}`;
}
