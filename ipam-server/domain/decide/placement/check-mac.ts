import { IpamError } from "../../../contract/index.ts";
import type { NetworkRecord } from "../../model/catalog.ts";
import { deriveMacOfIpv4, deriveMacOfKey, isDerivedMac, parseMac } from "../../model/mac.ts";
import type { HeldIp } from "../../model/port-record.ts";
import type { WorkingState } from "../working-state.ts";

/** The wanted MAC if this port may have it, else the one derived from its addresses. */
export function checkMac(
  wanted: string | undefined,
  { network, ips, port }: { network: NetworkRecord; ips: readonly HeldIp[]; port: { name: string; key: number } },
  working: WorkingState,
): string {
  const derived = deriveMac(ips, port.key, working);
  if (wanted === undefined) return derived;
  const mac = parseMac(wanted, "mac");
  if (mac === derived) return mac;
  if (isDerivedMac(mac)) {
    throw new IpamError(
      "invalid_request",
      `the wanted MAC ${mac} begins like those that Mooring derives from addresses (0a:58, 0a:59), and this port's is ${derived}; choose another prefix, such as 02`,
      { field: "mac" },
    );
  }
  const holder = working.macHolder(network.id, mac);
  if (holder !== undefined && holder !== port.name) {
    throw new IpamError(
      "address_in_use",
      `the wanted MAC ${mac} is that of port ${holder} on network ${network.name}`,
      {
        field: "mac",
        ports: [holder],
      },
    );
  }
  return mac;
}

function deriveMac(ips: readonly HeldIp[], portKey: number, { catalog }: WorkingState): string {
  for (const { subnetId, offset } of ips) {
    const { cidr } = catalog.subnet(subnetId);
    if (cidr.version === 4) return deriveMacOfIpv4(cidr.base + offset);
  }
  return deriveMacOfKey(portKey);
}
