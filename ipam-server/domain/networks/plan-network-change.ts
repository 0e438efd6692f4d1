import type { PutNetworkResponse } from "../../contract/index.ts";
import { contains, type Range, subtractRanges } from "../model/address.ts";
import type { Catalog, NetworkDeclaration, NetworkRecord, SubnetDeclaration, SubnetRecord } from "../model/catalog.ts";
import { toSpec } from "./network-manifest.ts";
import { parseSubnet } from "./parse-subnet.ts";

/** A range that the change removes. The change is rejected while ports hold addresses in it. */
export interface Obstacle {
  subnet: SubnetRecord;
  range: Range;
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

/** Derives what a declaration changes. Subnets are identified by CIDR. Pure. */
export function planNetworkChange(old: NetworkRecord | undefined, now: NetworkDeclaration): NetworkChange {
  const plan: NetworkChange = { outcome: "created", changes: [], obstacles: [], added: [], removed: [], kept: [] };
  const before = new Map(old?.subnets.map(subnet => [subnet.cidr.text, subnet]));
  if (old) {
    for (const field of ["labels", "vpc", "availabilityZone", "segment", "mtu", "nodeLease"] as const) {
      if (!same(old[field], now[field])) plan.changes.push(`${field}: ${show(old[field])} -> ${show(now[field])}`);
    }
    if (!same(old.segment, now.segment)) {
      const why = "is plugged into the present segment";
      plan.obstacles.push(...old.subnets.map(subnet => ({ subnet, range: fullRange(subnet), why })));
    }
  }
  for (const subnet of now.subnets) {
    const present = before.get(subnet.cidr.text);
    before.delete(subnet.cidr.text);
    if (present) keepSubnet(plan, present, subnet);
    else {
      plan.added.push(subnet);
      plan.changes.push(`subnet ${subnet.cidr.text}: added`);
    }
  }
  for (const subnet of before.values()) {
    plan.removed.push(subnet);
    plan.changes.push(`subnet ${subnet.cidr.text}: removed`);
    if (plan.obstacles.some(obstacle => obstacle.subnet === subnet)) continue;
    plan.obstacles.push({ subnet, range: fullRange(subnet), why: `holds an address of subnet ${subnet.cidr.text}` });
  }
  if (old) plan.outcome = plan.changes.length > 0 ? "changed" : "unchanged";
  return plan;
}

function show(value: unknown): string {
  return value === undefined ? "none" : typeof value === "string" ? value : JSON.stringify(value);
}

function keepSubnet(plan: NetworkChange, old: SubnetRecord, now: SubnetDeclaration): void {
  for (const field of ["gateway", "pools", "exclude", "routes", "dns"] as const) {
    if (same(old[field], now[field])) continue;
    const detail = field === "gateway" ? `: ${old.gateway ?? "none"} -> ${now.gateway ?? "none"}` : "";
    plan.changes.push(`subnet ${old.cidr.text}: ${field}${detail}`);
  }
  for (const { range, why } of now.unusable) {
    const newly = subtractRanges(
      [range],
      old.unusable.map(barred => barred.range),
    );
    const reason = `holds an address that would be ${why} of subnet ${old.cidr.text}`;
    plan.obstacles.push(...newly.map(part => ({ subnet: old, range: part, why: reason })));
  }
  const routers = (subnet: SubnetDeclaration) =>
    subnet.devices.filter(({ type }) => type === "router").map(({ range }) => range);
  const why = `holds an address that would be a next hop of subnet ${old.cidr.text}`;
  plan.obstacles.push(...subtractRanges(routers(now), routers(old)).map(range => ({ subnet: old, range, why })));
  plan.kept.push({ old, now, poolsChanged: havePoolsChanged(old, now) });
}

function havePoolsChanged(old: SubnetRecord, now: SubnetDeclaration): boolean {
  const bounds = (ranges: readonly Range[]) => ranges.map(({ first, last }) => [first, last]);
  return !same(bounds(old.ranges), bounds(now.ranges));
}

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
  const within = old.ranges.find(pool => contains(pool, range.first));
  if (!within || within.cursor <= range.first) return range.first;
  return within.cursor > range.last ? range.last + 1n : within.cursor;
}
