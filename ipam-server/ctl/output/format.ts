import type {
  Labels,
  Port,
  Retention,
  Segment,
  SubnetUsage,
  Timestamp,
  WorkloadRetention,
} from "../../contract/index.ts";
import { formatAge } from "./age.ts";

export function formatLabels(labels: Labels): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}

export function formatSegment(segment: Segment): string {
  return segment.type === "vlan" ? `vlan:${segment.id}` : segment.type;
}

/** An MTU that is not declared is each host's own. */
export function formatMtu(mtu: number): string {
  return mtu === 0 ? "of each host's uplinks" : String(mtu);
}

export function formatAddresses(port: Port): string {
  return port.fixedIps.map(({ address }) => address).join(",");
}

export function formatRetention({ policy, ttlSeconds }: Retention): string {
  return ttlSeconds === undefined ? policy : `${policy} for ${formatAge(ttlSeconds * 1000)}`;
}

/** How long the port is kept without its workload, where it says so itself. */
export function formatRetentionTimes({ whenDeleted, whenScaled }: WorkloadRetention): string | undefined {
  const times = Object.entries({ deleted: whenDeleted, scaled: whenScaled }).flatMap(([when, time]) =>
    time === undefined ? [] : [`${when}: ${typeof time === "number" ? formatAge(time * 1000) : time}`],
  );
  return times.length === 0 ? undefined : times.join(", ");
}

export function formatSince(time: Timestamp, now: Date): string {
  return formatAge(now.getTime() - Date.parse(time));
}

/** Formats a count; from a billion on as a power of ten, because an IPv6 /64 has too many digits to read. */
export function formatCount(decimal: string): string {
  return decimal.length <= 9 ? decimal : `~${Number(decimal).toExponential(1).replace("+", "")}`;
}

/** Returns the share of the pools' addresses that are held, in percent. */
export function formatShare({ held, size }: SubnetUsage): string {
  const capacity = BigInt(size);
  if (capacity === 0n) return held === 0 ? "0%" : "100%";
  const tenths = Number((BigInt(held) * 1000n) / capacity);
  if (tenths === 0 && held > 0) return "<0.1%";
  return `${tenths / 10}%`;
}
