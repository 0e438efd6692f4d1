import { IpamError } from "../../../contract/index.ts";
import { familyOf, formatAddress } from "../../model/address.ts";
import { parseMac } from "../../model/mac.ts";
import type { PlacementRequest } from "../../model/placement-request.ts";
import { isReachable } from "../../model/placement-request.ts";
import type { PortRecord } from "../../model/port-record.ts";
import type { WorkingState } from "../working-state.ts";
import { parseWantedIps } from "./choose-placement.ts";
import { unreachableError } from "./placement-errors.ts";

/** The error of an existing port that does not satisfy the request, or undefined. An absent field asks for nothing. */
export function findMismatch(
  port: PortRecord,
  request: PlacementRequest,
  working: WorkingState,
): IpamError | undefined {
  const network = working.catalog.network(port.networkId);
  const hint = "release and delete the port, or set onMismatch to reallocate (annotation mooring.dev/on-mismatch)";
  if (!working.catalog.match(request.networkSelector).includes(network)) {
    return new IpamError(
      "no_matching_network",
      `port ${port.name} is on network ${network.name}, which the selector "${request.networkSelector}" does not match; correct the selector, or ${hint}`,
      { field: "networkSelector" },
    );
  }
  if (!isReachable(network, request)) return unreachableError(request, [network]);
  return findAddressMismatch(port, request, hint, working);
}

/** The same for addresses, families and MAC only. `hint` ends the message with what to do. */
export function findAddressMismatch(
  port: PortRecord,
  request: PlacementRequest,
  hint: string,
  working: WorkingState,
): IpamError | undefined {
  const held = working.addressTexts(port.fixedIps);
  const conflict = (field: string, wanted: string, has: string) =>
    new IpamError("conflict", `port ${port.name} has ${has}, but ${wanted} is wanted; ${hint}`, {
      field,
      ports: [port.name],
    });
  const wantedIps = parseWantedIps(request).map(({ version, value }) => formatAddress(version, value));
  const foreign = wantedIps.find(ip => !held.includes(ip));
  if (foreign !== undefined) return conflict("ips", `address ${foreign}`, held.join(" and "));
  if (request.mac !== undefined && parseMac(request.mac, "mac") !== port.mac) {
    return conflict("mac", `MAC ${request.mac}`, `MAC ${port.mac}`);
  }
  const families = port.fixedIps.map(({ subnetId }) => familyOf(working.catalog.subnet(subnetId).cidr.version));
  const wanted = new Set(request.families);
  if (request.families && (wanted.size !== families.length || families.some(family => !wanted.has(family)))) {
    return conflict("families", request.families.join(" and "), families.join(" and "));
  }
  return undefined;
}
