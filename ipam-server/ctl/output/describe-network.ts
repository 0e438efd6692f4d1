import type { Network, Subnet, Timestamp } from "../../contract/index.ts";
import {
  formatCount,
  formatLabels,
  formatMtu,
  formatRetentionTimes,
  formatSegment,
  formatShare,
  formatSince,
} from "./format.ts";
import { formatFields } from "./output.ts";

/** Formats one network and its subnets for people. */
export function describeNetwork(network: Network, now: Date): string {
  const at = (time: Timestamp) => `${time} (${formatSince(time, now)} ago)`;
  const head = formatFields([
    ["Name", network.name],
    ["VPC", network.vpc],
    ["Zone", network.availabilityZone ?? "any"],
    ["Segment", `${formatSegment(network.segment)} on ${network.segment.physicalNetwork}`],
    ["MTU", formatMtu(network.mtu)],
    [
      "Node lease",
      network.nodeLease && `${network.nodeLease.size} addresses a node, more below ${network.nodeLease.low}`,
    ],
    ["Ports kept when", network.retention && formatRetentionTimes(network.retention)],
    ["Labels", formatLabels(network.labels)],
    ["Created", at(network.createdAt)],
    ["Updated", at(network.updatedAt)],
    ["Ports", `mooringctl get ports --network ${network.name}`],
  ]);
  return [head, ...network.subnets.map(describeSubnet)].join("\n");
}

function describeSubnet(subnet: Subnet): string {
  const { held, size, freed } = subnet.usage;
  return formatFields([
    ["Subnet", subnet.cidr],
    ["  Gateway", subnet.gateway],
    ["  Pools", subnet.pools],
    ["  Exclude", subnet.exclude],
    ["  Routes", subnet.routes.map(({ dst, gw }) => (gw === undefined ? `${dst} on link` : `${dst} via ${gw}`))],
    ["  DNS", subnet.dns.nameservers ?? []],
    ["  Held", `${held} of ${formatCount(size)} (${formatShare(subnet.usage)}), ${freed} freed`],
  ]);
}
