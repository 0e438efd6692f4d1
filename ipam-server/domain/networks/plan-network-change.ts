import type { PutNetworkResponse } from "../../contract/index.ts";
import { type Range, subtractRanges } from "../model/address.ts";
import {
  type Catalog,
  type NetworkDeclaration,
  type NetworkRecord,
  poolAt,
  type SubnetDeclaration,
  type SubnetRecord,
} from "../model/catalog.ts";
import { toSpec } from "./network-manifest.ts";
import { parseSubnet } from "./parse-subnet.ts";
import { findWidened, shiftSubnet, toOldRange } from "./widen-subnet.ts";

/** Ranges that the change removes. The change is rejected while ports hold addresses in them. */
export interface Obstacle {
  subnet: SubnetRecord;
  /** Sorted, disjoint. */
  ranges: Range[];
  /** Continues "port X ..." with the reason. */
  why: string;
}

export interface NetworkChange {
  outcome: PutNetworkResponse["outcome"];
  /** One line for each changed field. */
  changes: string[];
  obstacles: Obstacle[];
  added: SubnetDeclaration[];
  removed: SubnetRecord[];
  /** `now` may have a wider prefix: then every offset grows. */
  kept: { old: SubnetRecord; now: SubnetDeclaration; poolsChanged: boolean }[];
}

const same = (a: unknown, b: unknown) => stable(a) === stable(b);

/** JSON with sorted keys; a bigint as its digits. */
function stable(value: unknown): string {
  return JSON.stringify(value ?? null, (_, inner: unknown) => {
    if (typeof inner === "bigint") return inner.toString();
    if (inner === null || typeof inner !== "object" || Array.isArray(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

const fullRange = (subnet: SubnetDeclaration): Range => ({ first: 0n, last: subnet.cidr.count - 1n });

/**
 * Derives what a declaration changes. Subnets are identified by CIDR; one that contains a subnet no longer declared is
 * that subnet, widened. Pure.
 */
export function planNetworkChange(old: NetworkRecord | undefined, now: NetworkDeclaration): NetworkChange {
  const plan: NetworkChange = { outcome: "created", changes: [], obstacles: [], added: [], removed: [], kept: [] };
  const hasMoved = old !== undefined && !same(old.segment, now.segment);
  const before = new Map(old?.subnets.map(subnet => [subnet.cidr.text, subnet]));
  const undeclared = new Map(before);
  for (const { cidr } of now.subnets) undeclared.delete(cidr.text);
  if (old) {
    for (const field of ["labels", "vpc", "availabilityZone", "segment", "mtu", "nodeLease", "retention"] as const) {
      if (!same(old[field], now[field])) plan.changes.push(`${field}: ${show(old[field])} -> ${show(now[field])}`);
    }
    const why = "is plugged into the present segment";
    if (hasMoved) plan.obstacles.push(...old.subnets.map(subnet => ({ subnet, ranges: [fullRange(subnet)], why })));
  }
  for (const subnet of now.subnets) {
    const present = before.get(subnet.cidr.text) ?? findWidened(subnet, undeclared.values());
    if (present) {
      undeclared.delete(present.cidr.text);
      keepSubnet(plan, present, subnet);
    } else {
      plan.added.push(subnet);
      plan.changes.push(`subnet ${subnet.cidr.text}: added`);
    }
  }
  for (const subnet of undeclared.values()) {
    plan.removed.push(subnet);
    plan.changes.push(`subnet ${subnet.cidr.text}: removed`);
    if (plan.obstacles.some(obstacle => obstacle.subnet === subnet)) continue;
    plan.obstacles.push({ subnet, ranges: [fullRange(subnet)], why: `holds an address of subnet ${subnet.cidr.text}` });
  }
  if (hasMoved) replaceKept(plan);
  if (old) plan.outcome = plan.changes.length > 0 ? "changed" : "unchanged";
  return plan;
}

/** On another segment a subnet's history is not that of its addresses: each begins again. */
function replaceKept(plan: NetworkChange): void {
  for (const { old, now } of plan.kept.splice(0)) {
    plan.removed.push(old);
    plan.added.push(now);
  }
}

function show(value: unknown): string {
  return value === undefined ? "none" : typeof value === "string" ? value : JSON.stringify(value);
}

function keepSubnet(plan: NetworkChange, old: SubnetRecord, now: SubnetDeclaration): void {
  const before = plan.changes.length;
  if (old.cidr.text !== now.cidr.text) plan.changes.push(`subnet ${old.cidr.text}: widened to ${now.cidr.text}`);
  for (const field of ["gateway", "pools", "exclude", "routes", "dns"] as const) {
    if (same(old[field], now[field])) continue;
    const detail = field === "gateway" ? `: ${old.gateway ?? "none"} -> ${now.gateway ?? "none"}` : "";
    plan.changes.push(`subnet ${old.cidr.text}: ${field}${detail}`);
  }
  const shifted = shiftSubnet(old, now);
  if (plan.changes.length > before) plan.obstacles.push(...findObstacles(old, shifted, now));
  plan.kept.push({ old, now, poolsChanged: shifted !== old || havePoolsChanged(old, now) });
}

/** What the kept subnet makes unusable. @param shifted the old subnet with the offsets of the new one */
function findObstacles(old: SubnetRecord, shifted: SubnetRecord, now: SubnetDeclaration): Obstacle[] {
  const obstruct = (ranges: readonly Range[], present: readonly Range[], why: string): Obstacle[] => {
    const newly = subtractRanges(ranges, present).flatMap(part => toOldRange(part, old, now));
    const reason = `holds an address that would be ${why} of subnet ${now.cidr.text}`;
    return newly.length > 0 ? [{ subnet: old, ranges: newly, why: reason }] : [];
  };
  const present = shifted.unusable.flatMap(({ ranges }) => ranges);
  const routers = (subnet: SubnetDeclaration) =>
    subnet.devices.filter(({ type }) => type === "router").map(({ range }) => range);
  return [
    ...now.unusable.flatMap(({ ranges, why }) => obstruct(ranges, present, why)),
    ...obstruct(routers(now), routers(shifted), "a next hop"),
  ];
}

const havePoolsChanged = ({ ranges: old }: SubnetRecord, { ranges: now }: SubnetDeclaration): boolean =>
  old.length !== now.length ||
  old.some(({ first, last }, index) => first !== now[index]?.first || last !== now[index]?.last);

/**
 * The subnets whose stored pools are those that an earlier version derived from the same declaration. The store derives
 * them again when it opens.
 */
export function findOutdatedPools({ networks }: Catalog): { old: SubnetRecord; now: SubnetDeclaration }[] {
  return networks
    .flatMap(({ subnets }) => subnets)
    .map(old => ({ old, now: parseSubnet(toSpec(old), `subnet ${old.cidr.text}`) }))
    .filter(({ old, now }) => havePoolsChanged(old, now));
}

/**
 * The cursor of a changed range. Below the old range's cursor every offset is held or freed, so a range that begins
 * inside an old one continues at its cursor; any other starts at its first offset and skips those in use.
 */
export function startCursor(range: Range, old: SubnetRecord): bigint {
  const within = poolAt(old, range.first);
  if (!within || within.cursor <= range.first) return range.first;
  return within.cursor > range.last ? range.last + 1n : within.cursor;
}
