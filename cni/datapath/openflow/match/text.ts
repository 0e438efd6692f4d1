import { portName } from "../port.ts";
import { FIELD_NAMES, FIELDS, type FieldName, FRAGMENT, VLAN_PRESENT } from "./field.ts";
import type { Match } from "./match.ts";
import type { AnyValue, NumberValue } from "./value.ts";

const IPV4 = 0x800;
const IPV6 = 0x86dd;
const ARP = 0x806;
const ETHER_TYPES = new Map([
  [IPV4, "ip"],
  [IPV6, "ipv6"],
  [ARP, "arp"],
]);
const PROTOCOLS = new Map([
  [
    IPV4,
    new Map([
      [1, "icmp"],
      [6, "tcp"],
      [17, "udp"],
      [132, "sctp"],
    ]),
  ],
  [
    IPV6,
    new Map([
      [58, "icmp6"],
      [6, "tcp6"],
      [17, "udp6"],
      [132, "sctp6"],
    ]),
  ],
]);

/** ovs-ofctl's names, where they are not set_field's. */
const NAMES: { readonly [F in FieldName]?: string } = {
  ethDst: "dl_dst",
  ethSrc: "dl_src",
  ethType: "dl_type",
  ipv4Src: "nw_src",
  ipv4Dst: "nw_dst",
  tcpSrc: "tp_src",
  tcpDst: "tp_dst",
  udpSrc: "tp_src",
  udpDst: "tp_dst",
  sctpSrc: "tp_src",
  sctpDst: "tp_dst",
  icmpv6Type: "icmp_type",
  icmpv6Code: "icmp_code",
};
const DECIMAL: readonly FieldName[] = ["conjId", "ipProto", "ctIpProto", "arpOp"];
/** ovs-ofctl's order; the fields that are not named come after these in the order of the wire. */
const ORDER: readonly FieldName[] = [
  ...([
    "conjId",
    "ctState",
    "ctZone",
    "ctMark",
    "ctIpv4Src",
    "ctIpv6Src",
    "ctIpv4Dst",
    "ctIpv6Dst",
    "ctIpProto",
  ] as const),
  ...(["ctTpSrc", "ctTpDst", "ethType"] as const),
  ...FIELD_NAMES.filter(name => name.startsWith("reg")),
  ...([
    "inPort",
    "vlanVid",
    "ethSrc",
    "ethDst",
    "ipv6Src",
    "ipv6Dst",
    "arpSpa",
    "arpTpa",
    "ipv4Src",
    "ipv4Dst",
  ] as const),
  ...(["ipProto", "arpOp", "arpSha", "arpTha", "ipFrag"] as const),
];
const SORTED = [...ORDER, ...FIELD_NAMES.filter(name => !ORDER.includes(name))];
const FRAGMENTS = new Map<number, string>(Object.entries(FRAGMENT).map(([name, bits]) => [bits, name]));

/** The match as `ovs-ofctl dump-flows` shows it. */
export function formatMatch(match: Match): string {
  const shorthand = findShorthand(match);
  return SORTED.flatMap(name => {
    const value = match[name];
    if (value === undefined || (name === "ipProto" && shorthand?.hasProtocol)) return [];
    if (name === "ethType" && shorthand) return [shorthand.text];
    if (name === "vlanVid") return [formatVlan(value as NumberValue)];
    if (name === "ipFrag") return [`nw_frag=${formatFragment(value as NumberValue)}`];
    const label = NAMES[name] ?? FIELDS[name].name;
    return [`${label}=${name === "ethType" ? `0x${value.toString(16).padStart(4, "0")}` : formatValue(name, value)}`];
  }).join(",");
}

export function formatNumber(value: number): string {
  return value === 0 ? "0" : `0x${value.toString(16)}`;
}

/** A value as ovs-ofctl shows it in most matches and after `set_field:`. */
export function formatValue(name: FieldName, value: AnyValue): string {
  if (typeof value === "string") return value;
  if (typeof value === "object") return `0x${value.value.toString(16)}/0x${value.mask.toString(16)}`;
  if (name === "inPort") return portName(value) ?? String(value);
  const isDecimal = FIELDS[name].sizeBytes < 4 || DECIMAL.includes(name);
  return isDecimal ? String(value) : formatNumber(value);
}

function findShorthand({ ethType, ipProto }: Match): { text: string; hasProtocol: boolean } | undefined {
  if (typeof ethType !== "number") return undefined;
  const protocol = typeof ipProto === "number" ? PROTOCOLS.get(ethType)?.get(ipProto) : undefined;
  const text = protocol ?? ETHER_TYPES.get(ethType);
  return text === undefined ? undefined : { text, hasProtocol: protocol !== undefined };
}

function formatVlan(value: NumberValue): string {
  const hex = (bits: number) => `0x${bits.toString(16).padStart(4, "0")}`;
  if (typeof value === "object") return `vlan_tci=${hex(value.value)}/${hex(value.mask)}`;
  return value & VLAN_PRESENT ? `dl_vlan=${value & ~VLAN_PRESENT}` : `vlan_tci=${hex(value)}/0x1fff`;
}

function formatFragment(value: NumberValue): string {
  const text = typeof value === "number" ? FRAGMENTS.get(value) : undefined;
  if (text !== undefined) return text;
  if (typeof value === "object" && value.mask === FRAGMENT.first) return value.value === 0 ? "no" : "yes";
  return typeof value === "object" && value.value === 0 ? "not_later" : "later";
}
