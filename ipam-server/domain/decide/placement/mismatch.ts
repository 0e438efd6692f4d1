import { IpamError, type IpFamily } from "../../../contract/index.ts";
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
  if (!request.plugged && !working.catalog.match(request.networkSelector).includes(network)) {
    return new IpamError(
      "no_matching_network",
      `port ${port.name} is on network ${network.name}, which the selector "${request.networkSelector}" does not match; correct the selector, or ${hint}`,
      { field: "networkSelector" },
    );
  }
  if (!isReachable(network, request)) return unreachableError(request, [network]);
  return findAddressMismatch(port, request, hint, working);
}

/**
 * The same for addresses, families and MAC only: the error of a request that would take from the port what it has.
 * `hint` ends the message with what to do.
 */
export function findAddressMismatch(
  port: PortRecord,
  request: PlacementRequest,
  hint: string,
  working: WorkingState,
): IpamError | undefined {
  const held = working.addressTexts(port.fixedIps);
  const families = familiesOf(port, working);
  const conflict = (field: string, wanted: string, has: string) =>
    new IpamError("conflict", `port ${port.name} has ${has}, but ${wanted} is wanted; ${hint}`, {
      field,
      ports: [port.name],
    });
  for (const { version, value } of parseWantedIps(request)) {
    const wanted = formatAddress(version, value);
    const isAnother = families.includes(familyOf(version)) && !held.includes(wanted);
    if (isAnother) return conflict("ips", `address ${wanted}`, held.join(" and "));
  }
  if (request.mac !== undefined && parseMac(request.mac, "mac") !== port.mac) {
    return conflict("mac", `MAC ${request.mac}`, `MAC ${port.mac}`);
  }
  if (request.families && families.some(family => !request.families?.includes(family))) {
    return conflict("families", request.families.join(" and "), families.join(" and "));
  }
  return undefined;
}

/** The families that the request asks for and the port has no address of. */
export function findAddedFamilies(port: PortRecord, request: PlacementRequest, working: WorkingState): IpFamily[] {
  const wanted = parseWantedIps(request).map(({ version }) => familyOf(version));
  return [...new Set([...(request.families ?? []), ...wanted])].filter(
    family => !familiesOf(port, working).includes(family),
  );
}

const familiesOf = ({ fixedIps }: PortRecord, { catalog }: WorkingState): IpFamily[] =>
  fixedIps.map(({ subnetId }) => familyOf(catalog.subnet(subnetId).cidr.version));
