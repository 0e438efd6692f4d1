import { IpamError } from "../../../contract/index.ts";
import type { NetworkRecord } from "../../model/catalog.ts";
import { deriveMacOfIpv4, deriveMacOfKey, isDerivedMac, parseMac } from "../../model/mac.ts";
import type { HeldIp, PlacedPort } from "../../model/port-record.ts";
import type { WorkingState } from "../working-state.ts";

interface MacPlace {
  network: NetworkRecord;
  ips: readonly HeldIp[];
  port: PlacedPort;
  /** True: it was derived for a port that is lost. */
  isPlugged?: boolean | undefined;
}

/** The wanted MAC if this port may have it; else the one it has on this network; else one derived from its addresses. */
export function checkMac(
  wanted: string | undefined,
  { network, ips, port, isPlugged }: MacPlace,
  working: WorkingState,
): string {
  const derived = deriveMac(ips, port.key, working);
  const own = port.networkId === network.id && canKeepMac(port, ips, working) ? port.mac : undefined;
  if (wanted === undefined) return own ?? derived;
  const mac = parseMac(wanted, "mac");
  if (mac === derived || mac === own) return mac;
  if (isDerivedMac(mac) && !isPlugged) {
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

/** False if the MAC is derived from an IPv4 address that the port gives up: it comes with that address. */
function canKeepMac({ mac, fixedIps = [] }: PlacedPort, ips: readonly HeldIp[], working: WorkingState): boolean {
  const kept = ipv4Of(ips, working);
  const former = ipv4Of(fixedIps, working);
  return former === undefined || former === kept || mac !== deriveMacOfIpv4(former);
}

function deriveMac(ips: readonly HeldIp[], portKey: number, working: WorkingState): string {
  const ipv4 = ipv4Of(ips, working);
  return ipv4 === undefined ? deriveMacOfKey(portKey) : deriveMacOfIpv4(ipv4);
}

function ipv4Of(ips: readonly HeldIp[], { catalog }: WorkingState): bigint | undefined {
  for (const { subnetId, offset } of ips) {
    const { cidr } = catalog.subnet(subnetId);
    if (cidr.version === 4) return cidr.base + offset;
  }
  return undefined;
}
