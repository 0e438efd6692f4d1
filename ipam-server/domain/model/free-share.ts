import { familyOf } from "./address.ts";
import { type NetworkRecord, type SubnetRecord, sizeOf } from "./catalog.ts";

type CountersOf = (subnet: SubnetRecord) => Pick<SubnetRecord, "held" | "outside">;

/** The smallest share of free addresses over the families, 0 to 1; those cooling down count as free. */
export function freeShare(
  network: NetworkRecord,
  families: readonly string[] | undefined,
  countersOf: CountersOf = subnet => subnet,
): number {
  let smallest = 1;
  const totals = { ipv4: { size: 0, free: 0 }, ipv6: { size: 0, free: 0 } };
  for (const subnet of network.subnets) {
    const total = totals[familyOf(subnet.cidr.version)];
    const { held, outside } = countersOf(subnet);
    const size = sizeNumberOf(subnet);
    total.size += size;
    total.free += size - (held - outside);
  }
  for (const family of ["ipv4", "ipv6"] as const) {
    const { size, free } = totals[family];
    if (families ? families.includes(family) : network.subnets.some(s => familyOf(s.cidr.version) === family)) {
      smallest = Math.min(smallest, size === 0 ? 0 : free / size);
    }
  }
  return smallest;
}

const sizes = new WeakMap<SubnetRecord, number>();

/** The subnet's size as a number, cached. Rounded for large IPv6 pools, which is enough for shares. */
export function sizeNumberOf(subnet: SubnetRecord): number {
  let size = sizes.get(subnet);
  if (size === undefined) {
    size = Number(sizeOf(subnet));
    sizes.set(subnet, size);
  }
  return size;
}
