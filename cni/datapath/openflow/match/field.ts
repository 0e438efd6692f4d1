/**
 * The fields of packets and of the pipeline, by OpenFlow 1.5 section 7.2.3.7 and ovs-fields(7). Their order here is the
 * order on the wire, because OVS rejects a field before its prerequisite (an address before the Ethernet type).
 */
export type FieldKind = "number" | "mac" | "ipv4" | "ipv6" | "ctState";

export interface Field<K extends FieldKind = FieldKind> {
  readonly kind: K;
  /** OXM class (0x8000 OpenFlow, 1 Nicira) and number within it. */
  readonly oxmClass: number;
  readonly number: number;
  readonly sizeBytes: number;
  /** Significant bits, the lowest ones. */
  readonly bits: number;
  /** As ovs-ofctl names it in set_field and in bit ranges. */
  readonly name: string;
  readonly rangeName: string;
  /** A second header that OVS uses for the same field: class and number. */
  readonly alias?: readonly [number, number];
}

const OXM = 0x8000;
const NXM = 1;
const NXM_BASIC = 0;
const SIZES: { [K in FieldKind]?: number } = { mac: 6, ipv4: 4, ipv6: 16, ctState: 4 };

type Definition = [number: number, bits: number, name: string];

/** A field of OpenFlow, and Nicira's header of the same field if there is one. */
function oxm<K extends FieldKind>(kind: K, field: Definition, nxm?: [name: string, number: number]): Field<K> {
  const [, , name] = field;
  if (nxm === undefined) return define(kind, OXM, field, `OXM_OF_${name.toUpperCase()}`);
  const [rangeName, number] = nxm;
  const alias = [rangeName.startsWith("NXM_OF") ? NXM_BASIC : NXM, number] as const;
  return { ...define(kind, OXM, field, rangeName), alias };
}

function nicira<K extends FieldKind>(kind: K, number: number, bits: number, name: string): Field<K> {
  return define(kind, NXM, [number, bits, name], `NXM_NX_${name.toUpperCase()}`);
}

function define<K extends FieldKind>(kind: K, oxmClass: number, field: Definition, rangeName: string): Field<K> {
  const [number, bits, name] = field;
  return {
    kind,
    oxmClass,
    number,
    sizeBytes: SIZES[kind] ?? (bits <= 8 ? 1 : bits <= 16 ? 2 : 4),
    bits,
    name,
    rangeName,
  };
}

const register = (number: number): Field<"number"> => nicira("number", number, 32, `reg${number}`);

export const FIELDS = {
  inPort: oxm("number", [0, 32, "in_port"]),
  conjId: nicira("number", 37, 32, "conj_id"),
  reg0: register(0),
  reg1: register(1),
  reg2: register(2),
  reg3: register(3),
  reg4: register(4),
  reg5: register(5),
  reg6: register(6),
  reg7: register(7),
  reg8: register(8),
  reg9: register(9),
  reg10: register(10),
  reg11: register(11),
  reg12: register(12),
  reg13: register(13),
  reg14: register(14),
  reg15: register(15),
  ethDst: oxm("mac", [3, 48, "eth_dst"], ["NXM_OF_ETH_DST", 1]),
  ethSrc: oxm("mac", [4, 48, "eth_src"], ["NXM_OF_ETH_SRC", 2]),
  ethType: oxm("number", [5, 16, "eth_type"], ["NXM_OF_ETH_TYPE", 3]),
  /** With bit 12 (`VLAN_PRESENT`) for a tagged packet; 0 is an untagged one. */
  vlanVid: oxm("number", [6, 12, "vlan_vid"]),
  ctState: nicira("ctState", 105, 32, "ct_state"),
  ctZone: nicira("number", 106, 16, "ct_zone"),
  ctMark: nicira("number", 107, 32, "ct_mark"),
  ipProto: oxm("number", [10, 8, "nw_proto"], ["NXM_OF_IP_PROTO", 6]),
  /** A bit for any fragment, a second one for all but the first: see `FRAGMENT`. */
  ipFrag: nicira("number", 26, 2, "ip_frag"),
  ipv4Src: oxm("ipv4", [11, 32, "ip_src"], ["NXM_OF_IP_SRC", 7]),
  ipv4Dst: oxm("ipv4", [12, 32, "ip_dst"], ["NXM_OF_IP_DST", 8]),
  ipv6Src: oxm("ipv6", [26, 128, "ipv6_src"], ["NXM_NX_IPV6_SRC", 19]),
  ipv6Dst: oxm("ipv6", [27, 128, "ipv6_dst"], ["NXM_NX_IPV6_DST", 20]),
  ctIpProto: nicira("number", 119, 8, "ct_nw_proto"),
  ctIpv4Src: nicira("ipv4", 120, 32, "ct_nw_src"),
  ctIpv4Dst: nicira("ipv4", 121, 32, "ct_nw_dst"),
  ctIpv6Src: nicira("ipv6", 122, 128, "ct_ipv6_src"),
  ctIpv6Dst: nicira("ipv6", 123, 128, "ct_ipv6_dst"),
  ctTpSrc: nicira("number", 124, 16, "ct_tp_src"),
  ctTpDst: nicira("number", 125, 16, "ct_tp_dst"),
  tcpSrc: oxm("number", [13, 16, "tcp_src"], ["NXM_OF_TCP_SRC", 9]),
  tcpDst: oxm("number", [14, 16, "tcp_dst"], ["NXM_OF_TCP_DST", 10]),
  udpSrc: oxm("number", [15, 16, "udp_src"], ["NXM_OF_UDP_SRC", 11]),
  udpDst: oxm("number", [16, 16, "udp_dst"], ["NXM_OF_UDP_DST", 12]),
  sctpSrc: oxm("number", [17, 16, "sctp_src"]),
  sctpDst: oxm("number", [18, 16, "sctp_dst"]),
  icmpType: oxm("number", [19, 8, "icmp_type"], ["NXM_OF_ICMP_TYPE", 13]),
  icmpCode: oxm("number", [20, 8, "icmp_code"], ["NXM_OF_ICMP_CODE", 14]),
  icmpv6Type: oxm("number", [29, 8, "icmpv6_type"], ["NXM_NX_ICMPV6_TYPE", 21]),
  icmpv6Code: oxm("number", [30, 8, "icmpv6_code"], ["NXM_NX_ICMPV6_CODE", 22]),
  ndTarget: oxm("ipv6", [31, 128, "nd_target"], ["NXM_NX_ND_TARGET", 23]),
  ndSll: oxm("mac", [32, 48, "nd_sll"], ["NXM_NX_ND_SLL", 24]),
  ndTll: oxm("mac", [33, 48, "nd_tll"], ["NXM_NX_ND_TLL", 25]),
  arpOp: oxm("number", [21, 16, "arp_op"], ["NXM_OF_ARP_OP", 15]),
  arpSpa: oxm("ipv4", [22, 32, "arp_spa"], ["NXM_OF_ARP_SPA", 16]),
  arpTpa: oxm("ipv4", [23, 32, "arp_tpa"], ["NXM_OF_ARP_TPA", 17]),
  arpSha: oxm("mac", [24, 48, "arp_sha"], ["NXM_NX_ARP_SHA", 17]),
  arpTha: oxm("mac", [25, 48, "arp_tha"], ["NXM_NX_ARP_THA", 18]),
} as const satisfies Record<string, Field>;

export type FieldName = keyof typeof FIELDS;
export type NumberFieldName = { [F in FieldName]: (typeof FIELDS)[F]["kind"] extends "number" ? F : never }[FieldName];
export const FIELD_NAMES = Object.keys(FIELDS) as FieldName[];

/** Set in `vlanVid` where the packet has a VLAN tag. */
export const VLAN_PRESENT = 0x1000;
export const FRAGMENT = { no: 0, first: 1, later: 3 } as const;

/** OXM header without the mask bit and the length: enough to distinguish fields. */
const BY_HEADER = new Map<number, FieldName>(
  FIELD_NAMES.flatMap(name => {
    const { oxmClass, number, alias }: Field = FIELDS[name];
    const headers: (readonly [number, number])[] = alias ? [[oxmClass, number], alias] : [[oxmClass, number]];
    return headers.map(([group, field]) => [(group << 7) | field, name] as const);
  }),
);

export function findField(oxmClass: number, number: number): FieldName | undefined {
  return BY_HEADER.get((oxmClass << 7) | number);
}
