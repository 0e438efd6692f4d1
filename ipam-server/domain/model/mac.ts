import { IpamError } from "../../contract/index.ts";

/**
 * MACs that Mooring derives. `0a:58` + the IPv4 address, so that the MAC is as sticky as the address; `0a:59` + the
 * port's key for ports without IPv4. Keys are never reused, so neither kind can meet another port's MAC, and people
 * may not choose a MAC that begins like them.
 */
const IPV4_PREFIX = "0a:58";
const KEY_PREFIX = "0a:59";

const MAC = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;

export const deriveMacOfIpv4 = (address: bigint): string => `${IPV4_PREFIX}:${hexPairs(Number(address))}`;
/** Only the lower 32 bits count: two ports four thousand million lives apart would have to be alive together. */
export const deriveMacOfKey = (portKey: number): string => `${KEY_PREFIX}:${hexPairs(portKey % 0x1_0000_0000)}`;
export const isDerivedMac = (mac: string): boolean => mac.startsWith(IPV4_PREFIX) || mac.startsWith(KEY_PREFIX);

function hexPairs(bits: number): string {
  const pair = (shift: number) => ((bits >>> shift) & 255).toString(16).padStart(2, "0");
  return `${pair(24)}:${pair(16)}:${pair(8)}:${pair(0)}`;
}

/** Lower case, checked. Throws `invalid_request` for what is no unicast MAC. */
export function parseMac(text: string, field: string): string {
  const mac = text.toLowerCase();
  const fail = (why: string): never => {
    throw new IpamError("invalid_request", `${field} is ${JSON.stringify(text)}, ${why}`, { field });
  };
  if (!MAC.test(mac)) fail("expected six hexadecimal pairs such as 02:00:5e:10:00:01");
  if (Number.parseInt(mac.slice(0, 2), 16) & 1) fail("a multicast address; a port's MAC is unicast (even first pair)");
  if (mac === "00:00:00:00:00:00") fail("which no port may have; expected a unicast address such as 02:00:5e:10:00:01");
  return mac;
}
