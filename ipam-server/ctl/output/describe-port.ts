import type { Binding, InactiveBinding, Network, Port, Timestamp } from "../../contract/index.ts";
import {
  formatLabels,
  formatMtu,
  formatRetention,
  formatRetentionTimes,
  formatSegment,
  formatSince,
} from "./format.ts";
import { formatFields } from "./output.ts";

const UNNEEDED = { deleted: "deleted", scaled: "scaled down" } as const;

/** Formats one port for people. */
export function describePort(port: Port, network: Network, now: Date): string {
  const at = (time: Timestamp) => `${time} (${formatSince(time, now)} ago)`;
  const { segment } = network;
  const { reservation, workload } = port;
  return formatFields([
    ["Name", port.name],
    ["Id", port.id],
    [
      "Network",
      `${network.name} (${formatSegment(segment)} on ${segment.physicalNetwork}, MTU ${formatMtu(network.mtu)})`,
    ],
    ["MAC", port.mac],
    [
      "Addresses",
      port.fixedIps.map(
        ip => `${ip.address}/${ip.prefixLength}${ip.gateway === undefined ? "" : ` via ${ip.gateway}`}`,
      ),
    ],
    ["State", `${port.state} (underlay ${port.underlay}, overlay ${port.overlay})`],
    ["Binding", describeBinding(port, at)],
    ["Migrates to", port.inactiveBinding && describeTarget(port.inactiveBinding, at)],
    ["Epoch", String(port.epoch)],
    ["Owner", port.owner && `${port.owner.kind} ${port.owner.uid}, created ${at(port.owner.createdAt)}`],
    ["Workload", workload && `${workload.kind} ${workload.namespace}/${workload.name}`],
    ["Retention", formatRetention(port.retention)],
    ...optional("Protected", port.protected && "yes: mooringctl unprotect ends that"),
    ...optional("Kept when", formatRetentionTimes(port.retention)),
    ...optional("Workload is", port.unneeded && UNNEEDED[port.unneeded]),
    ...(port.expiresAt === undefined
      ? []
      : ([[port.owner?.kind === "lease" ? "Lease ends" : "Kept until", port.expiresAt]] as const)),
    ...(reservation === undefined
      ? []
      : ([
          ["Reserved for", reservation.allowedNamespaces.join(", ") || "no namespace"],
          ["Device owner", reservation.deviceOwner],
        ] as const)),
    ["Labels", formatLabels(port.labels)],
    ["Created", at(port.createdAt)],
    ["Updated", at(port.updatedAt)],
    ["History", `mooringctl trace ${port.name}`],
  ]);
}

function describeBinding({ binding, releasedAt }: Port, at: (time: Timestamp) => string): string[] {
  if (binding === undefined) return [releasedAt === undefined ? "never bound" : `unbound since ${at(releasedAt)}`];
  return [`host ${binding.host}, since ${at(binding.boundAt)}`, describeSandbox(binding)];
}

function describeTarget(binding: InactiveBinding, at: (time: Timestamp) => string): string[] {
  const { host, boundAt, epoch, migration } = binding;
  return [
    `host ${host}, INACTIVE since ${at(boundAt)}`,
    describeSandbox(binding),
    `migration ${migration.id}, epoch ${epoch}`,
  ];
}

function describeSandbox({ sandbox, ownerUid }: Binding): string {
  if (sandbox === undefined) return `no sandbox yet, claimed by ${ownerUid}`;
  return `sandbox ${sandbox.id}, interface ${sandbox.interface}, owner ${ownerUid}`;
}

const optional = (label: string, value: string | undefined): [label: string, value: string][] =>
  value === undefined ? [] : [[label, value]];
