import { IpamError } from "../../contract/index.ts";
import { familyOf, formatAddress } from "../model/address.ts";
import { parseMac } from "../model/mac.ts";
import type { PortRecord } from "../model/port-record.ts";
import { isReachable } from "../model/reachable.ts";
import { addressTexts, parseWantedIps } from "./allocate.ts";
import type { PlacementRequest } from "./needs.ts";
import { describeUnreachable } from "./refusals.ts";
import type { WorkingState } from "./working-state.ts";

/** Why a port that exists does not do what is wished; undefined when it does. A wish left out asks for nothing. */
export function findMismatch(port: PortRecord, wish: PlacementRequest, working: WorkingState): IpamError | undefined {
  const network = working.catalog.network(port.networkId);
  const hint = "release and delete the port, or set onMismatch to reallocate (annotation mooring.dev/on-mismatch)";
  if (!working.catalog.match(wish.networkSelector).includes(network)) {
    return new IpamError(
      "no_matching_network",
      `port ${port.name} is on network ${network.name}, which the selector "${wish.networkSelector}" does not match; correct the selector, or ${hint}`,
      { field: "networkSelector" },
    );
  }
  if (!isReachable(network, wish)) return describeUnreachable(wish, [network]);
  return describeHoldingMismatch(port, wish, hint, working);
}

/** The part of it that is about addresses and MAC. `hint` says what to do. */
export function describeHoldingMismatch(
  port: PortRecord,
  wish: PlacementRequest,
  hint: string,
  working: WorkingState,
): IpamError | undefined {
  const held = addressTexts(port.fixedIps, working);
  const conflict = (field: string, wanted: string, has: string) =>
    new IpamError("conflict", `port ${port.name} has ${has}, but ${wanted} is wanted; ${hint}`, {
      field,
      ports: [port.name],
    });
  const wantedIps = parseWantedIps(wish).map(({ version, value }) => formatAddress(version, value));
  const foreign = wantedIps.find(ip => !held.includes(ip));
  if (foreign !== undefined) return conflict("ips", `address ${foreign}`, held.join(" and "));
  if (wish.mac !== undefined && parseMac(wish.mac, "mac") !== port.mac) {
    return conflict("mac", `MAC ${wish.mac}`, `MAC ${port.mac}`);
  }
  const families = port.fixedIps.map(({ subnetId }) => familyOf(working.catalog.subnet(subnetId).cidr.version));
  const wanted = new Set(wish.families);
  if (wish.families && (wanted.size !== families.length || families.some(family => !wanted.has(family)))) {
    return conflict("families", wish.families.join(" and "), families.join(" and "));
  }
  return undefined;
}
