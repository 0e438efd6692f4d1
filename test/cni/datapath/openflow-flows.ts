import { type Action, slice } from "../../../cni/datapath/openflow/actions/action.ts";
import type { Flow } from "../../../cni/datapath/openflow/flow.ts";
import type { Group } from "../../../cni/datapath/openflow/group.ts";
import type { Match } from "../../../cni/datapath/openflow/match/match.ts";
import { PORT } from "../../../cni/datapath/openflow/port.ts";

const ip = { ethType: 0x800 } as const;
const ipv6 = { ethType: 0x86dd } as const;
const tcp = { ...ip, ipProto: 6 } as const;
const nd = { ...ipv6, ipProto: 58, icmpv6Type: 135, icmpv6Code: 0 } as const;
const registers = Object.fromEntries(Array.from({ length: 16 }, (_, n) => [`reg${n}`, n]));
const maskedRegisters = Object.fromEntries(
  Array.from({ length: 16 }, (_, n) => [`reg${n}`, { value: 0x10 + n, mask: 0xff }]),
);

/** Every field that the codec has, with and without a mask where OVS takes one, as `ovs-ofctl` shows the match. */
export const MATCHES: readonly [text: string, match: Match][] = [
  ["", {}],
  ["in_port=2", { inPort: 2 }],
  ["in_port=LOCAL", { inPort: PORT.local }],
  ["conj_id=7,ip", { ...ip, conjId: 7 }],
  ["dl_src=0a:58:0a:64:01:0b", { ethSrc: "0a:58:0a:64:01:0b" }],
  ["dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", { ethDst: "01:00:00:00:00:00/01:00:00:00:00:00" }],
  ["dl_src=0a:58:00:00:00:00/ff:ff:00:00:00:00", { ethSrc: "0a:58:00:00:00:00/ff:ff:00:00:00:00" }],
  ["dl_type=0x88cc", { ethType: 0x88cc }],
  ["dl_vlan=100", { vlanVid: 0x1064 }],
  ["vlan_tci=0x1000/0x1000", { vlanVid: { value: 0x1000, mask: 0x1000 } }],
  ["vlan_tci=0x0000/0x1fff", { vlanVid: 0 }],
  ["reg0=0x1/0x1,reg3=0x7", { reg0: { value: 1, mask: 1 }, reg3: 7 }],
  ["ip", ip],
  ["ip,nw_proto=47", { ...ip, ipProto: 47 }],
  ["ip,nw_src=10.0.0.0/8,nw_dst=10.1.2.3", { ...ip, ipv4Src: "10.0.0.0/8", ipv4Dst: "10.1.2.3" }],
  ["ip,nw_dst=10.0.0.1/255.0.0.255", { ...ip, ipv4Dst: "10.0.0.1/255.0.0.255" }],
  ["ipv6,ipv6_src=fe80::/10,ipv6_dst=fd00:100::1:b", { ...ipv6, ipv6Src: "fe80::/10", ipv6Dst: "fd00:100::1:b" }],
  ["ipv6,ipv6_src=::", { ...ipv6, ipv6Src: "::" }],
  ["ip,nw_frag=first", { ...ip, ipFrag: 1 }],
  ["ip,nw_frag=later", { ...ip, ipFrag: 3 }],
  ["ip,nw_frag=no", { ...ip, ipFrag: { value: 0, mask: 1 } }],
  ["tcp,tp_src=1024,tp_dst=80", { ...tcp, tcpSrc: 1024, tcpDst: 80 }],
  ["tcp,tp_dst=0x1f90/0xfff0", { ...tcp, tcpDst: { value: 0x1f90, mask: 0xfff0 } }],
  ["udp,tp_dst=53", { ...ip, ipProto: 17, udpDst: 53 }],
  ["udp,tp_src=0x400/0xfc00", { ...ip, ipProto: 17, udpSrc: { value: 0x400, mask: 0xfc00 } }],
  ["sctp,tp_src=9,tp_dst=0x8/0xfff8", { ...ip, ipProto: 132, sctpSrc: 9, sctpDst: { value: 8, mask: 0xfff8 } }],
  ["tcp6,tp_dst=443", { ...ipv6, ipProto: 6, tcpDst: 443 }],
  ["udp6,tp_dst=53", { ...ipv6, ipProto: 17, udpDst: 53 }],
  ["sctp6,tp_dst=9", { ...ipv6, ipProto: 132, sctpDst: 9 }],
  ["icmp,icmp_type=8,icmp_code=0", { ...ip, ipProto: 1, icmpType: 8, icmpCode: 0 }],
  ["icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::/10", { ...nd, ndTarget: "fe80::/10" }],
  ["icmp6,icmp_type=135,icmp_code=0,nd_sll=0a:58:00:00:00:01", { ...nd, ndSll: "0a:58:00:00:00:01" }],
  ["icmp6,icmp_type=136,icmp_code=0,nd_tll=0a:58:00:00:00:01", { ...nd, icmpv6Type: 136, ndTll: "0a:58:00:00:00:01" }],
  [
    "arp,dl_src=0a:58:00:00:00:01,arp_spa=10.1.2.3,arp_tpa=10.1.0.0/16,arp_op=1,arp_sha=0a:58:00:00:00:01,arp_tha=00:00:00:00:00:00",
    {
      ethType: 0x806,
      ethSrc: "0a:58:00:00:00:01",
      arpOp: 1,
      arpSpa: "10.1.2.3",
      arpTpa: "10.1.0.0/16",
      arpSha: "0a:58:00:00:00:01",
      arpTha: "00:00:00:00:00:00",
    },
  ],
  [
    Object.keys(registers)
      .map((name, n) => `${name}=${n === 0 ? "0" : `0x${n.toString(16)}`}`)
      .join(","),
    registers,
  ],
  [
    Object.keys(maskedRegisters)
      .map((name, n) => `${name}=0x${(0x10 + n).toString(16)}/0xff`)
      .join(","),
    maskedRegisters,
  ],
  ["ct_state=+new-dnat", { ctState: "+new-dnat" }],
  ["ct_state=+new-est+rel-rpl+inv-trk+snat", { ctState: "+new-est+rel-rpl+inv-trk+snat" }],
  ["ct_state=+trk,ct_zone=4096,ct_mark=0x2/0x2", { ctState: "+trk", ctZone: 4096, ctMark: { value: 2, mask: 2 } }],
  [
    "ct_state=+est,ct_nw_src=10.0.0.0/8,ct_nw_dst=10.96.0.1,ct_nw_proto=6,ct_tp_src=0x400/0xfc00,ct_tp_dst=443,ip",
    {
      ...ip,
      ctState: "+est",
      ctIpProto: 6,
      ctIpv4Src: "10.0.0.0/8",
      ctIpv4Dst: "10.96.0.1",
      ctTpSrc: { value: 0x400, mask: 0xfc00 },
      ctTpDst: 443,
    },
  ],
  [
    "ct_state=-inv+trk,ct_ipv6_src=fd00::/8,ct_ipv6_dst=fd96::1,ipv6",
    { ...ipv6, ctState: "-inv+trk", ctIpv6Src: "fd00::/8", ctIpv6Dst: "fd96::1" },
  ],
];

const zone = slice("reg3", 0, 16);

/** Every action, as `ovs-ofctl` shows it. The match is what OVS asks of a flow with the action. */
export const ACTIONS: readonly [text: string, actions: readonly Action[], match?: Match][] = [
  ["output:1", [{ kind: "output", port: 1 }]],
  ["NORMAL", [{ kind: "output", port: PORT.normal }]],
  ["IN_PORT", [{ kind: "output", port: PORT.inPort }]],
  ["LOCAL", [{ kind: "output", port: PORT.local }]],
  ["output:NXM_NX_REG1[]", [{ kind: "outputField", from: slice("reg1") }]],
  ["output:NXM_NX_REG1[0..15]", [{ kind: "outputField", from: slice("reg1", 0, 16) }]],
  ["group:1", [{ kind: "group", group: 1 }]],
  [
    "push_vlan:0x8100,set_field:4196->vlan_vid,output:1",
    [{ kind: "pushVlan" }, { kind: "set", field: "vlanVid", value: 0x1064 }, { kind: "output", port: 1 }],
  ],
  ["pop_vlan,output:1", [{ kind: "popVlan" }, { kind: "output", port: 1 }], { vlanVid: 0x1064 }],
  ["dec_ttl", [{ kind: "decTtl" }], ip],
  ["set_field:0x1234->reg0", [{ kind: "set", field: "reg0", value: 0x1234 }]],
  ["set_field:0x2/0x2->reg0", [{ kind: "set", field: "reg0", value: { value: 2, mask: 2 } }]],
  ["set_field:0a:58:00:00:00:02->eth_dst", [{ kind: "set", field: "ethDst", value: "0a:58:00:00:00:02" }]],
  ["set_field:10.0.0.9->ip_dst", [{ kind: "set", field: "ipv4Dst", value: "10.0.0.9" }], ip],
  ["set_field:fd00::9->ipv6_src", [{ kind: "set", field: "ipv6Src", value: "fd00::9" }], ipv6],
  ["set_field:8080->tcp_dst", [{ kind: "set", field: "tcpDst", value: 8080 }], tcp],
  [
    "move:NXM_NX_REG2[0..11]->OXM_OF_VLAN_VID[]",
    [{ kind: "move", from: slice("reg2", 0, 12), to: slice("vlanVid") }],
    { vlanVid: { value: 0x1000, mask: 0x1000 } },
  ],
  ["move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]", [{ kind: "move", from: slice("ethSrc"), to: slice("ethDst") }]],
  ["resubmit(,31)", [{ kind: "resubmit", table: 31 }]],
  ["resubmit(,31,ct)", [{ kind: "resubmit", table: 31, ct: true }], { ...ip, ctState: "+est" }],
  ["ct(zone=4080,nat)", [{ kind: "ct", zone: 0xff0, nat: {} }], ip],
  ["ct(table=21,zone=NXM_NX_REG3[0..15],nat)", [{ kind: "ct", zone, table: 21, nat: {} }], ip],
  ["ct(commit,force,zone=1)", [{ kind: "ct", commit: true, force: true, zone: 1 }], ip],
  ["ct(commit)", [{ kind: "ct", commit: true, zone: 0 }], ip],
  ["ct(commit,nat(src))", [{ kind: "ct", commit: true, zone: 0, nat: { change: "src" } }], ip],
  [
    "ct(commit,table=40,zone=NXM_NX_REG3[0..15],nat(dst=10.100.1.12:80))",
    [{ kind: "ct", commit: true, zone, table: 40, nat: { change: "dst", address: "10.100.1.12", port: 80 } }],
    ip,
  ],
  [
    "ct(commit,zone=1,nat(src=10.0.0.1-10.0.0.9:1024-2048))",
    [
      {
        kind: "ct",
        commit: true,
        zone: 1,
        nat: { change: "src", address: "10.0.0.1", addressTo: "10.0.0.9", port: 1024, portTo: 2048 },
      },
    ],
    ip,
  ],
  [
    "ct(commit,zone=1,nat(dst=[fd00::c]:80))",
    [{ kind: "ct", commit: true, zone: 1, nat: { change: "dst", address: "fd00::c", port: 80 } }],
    ipv6,
  ],
  [
    "ct(commit,zone=1,nat(src=fd00::1-fd00::f))",
    [{ kind: "ct", commit: true, zone: 1, nat: { change: "src", address: "fd00::1", addressTo: "fd00::f" } }],
    ipv6,
  ],
  [
    "ct(commit,table=70,zone=NXM_NX_REG5[0..15],nat(src=10.0.0.1),exec(set_field:0x2/0x2->ct_mark,move:NXM_NX_REG0[1]->NXM_NX_CT_MARK[0]))",
    [
      {
        kind: "ct",
        commit: true,
        zone: slice("reg5", 0, 16),
        table: 70,
        nat: { change: "src", address: "10.0.0.1" },
        exec: [
          { kind: "set", field: "ctMark", value: { value: 2, mask: 2 } },
          { kind: "move", from: slice("reg0", 1, 1), to: slice("ctMark", 0, 1) },
        ],
      },
    ],
    ip,
  ],
  [
    "learn(table=31,hard_timeout=5,priority=100,cookie=0x4d4f4f5200000000,eth_type=0x800,nw_proto=6,NXM_OF_IP_SRC[],NXM_OF_IP_DST[],NXM_OF_TCP_DST[],load:NXM_NX_REG6[]->NXM_NX_REG6[])",
    [
      {
        kind: "learn",
        table: 31,
        priority: 100,
        cookie: 0x4d4f4f52_00000000n,
        idleTimeoutSeconds: 0,
        hardTimeoutSeconds: 5,
        specs: [
          { kind: "match", to: slice("ethType"), from: 0x800 },
          { kind: "match", to: slice("ipProto"), from: 6 },
          { kind: "match", to: slice("ipv4Src"), from: slice("ipv4Src") },
          { kind: "match", to: slice("ipv4Dst"), from: slice("ipv4Dst") },
          { kind: "match", to: slice("tcpDst"), from: slice("tcpDst") },
          { kind: "load", to: slice("reg6"), from: slice("reg6") },
        ],
      },
    ],
    tcp,
  ],
  [
    "learn(table=31,idle_timeout=65535,priority=100,delete_learned,reg7=0xe,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],load:0x10001->NXM_NX_REG6[],load:0x1->NXM_NX_REG7[0..3],output:NXM_NX_REG1[])",
    [
      {
        kind: "learn",
        table: 31,
        priority: 100,
        cookie: 0n,
        idleTimeoutSeconds: 65535,
        hardTimeoutSeconds: 0,
        deleteLearned: true,
        specs: [
          { kind: "match", to: slice("reg7"), from: 0xe },
          { kind: "match", to: slice("ethDst"), from: slice("ethSrc") },
          { kind: "load", to: slice("reg6"), from: 0x10001 },
          { kind: "load", to: slice("reg7", 0, 4), from: 1 },
          { kind: "output", from: slice("reg1") },
        ],
      },
    ],
  ],
  [
    "conjunction(7,1/3),conjunction(8,64/64)",
    [
      { kind: "conjunction", id: 7, clause: 1, clauses: 3 },
      { kind: "conjunction", id: 8, clause: 64, clauses: 64 },
    ],
  ],
  ["note:6d.6f.6f.72.00.00", [{ kind: "note", data: "6d6f6f720000" }]],
];

/** Flows by the rest of what they have, as `ovs-ofctl --no-stats dump-flows` shows them. */
export const FLOWS: readonly [text: string, flow: Flow][] = [
  ["table=1, actions=drop", { table: 1, priority: 0x8000, cookie: 0n, match: {} }],
  ["table=1, priority=0 actions=goto_table:2", { table: 1, priority: 0, cookie: 0n, match: {}, goto: 2 }],
  [
    "cookie=0x4d4f4f5200000001, table=1, idle_timeout=60, hard_timeout=600, priority=65535,ip actions=output:1,goto_table:254",
    {
      table: 1,
      priority: 65535,
      cookie: 0x4d4f4f52_00000001n,
      idleTimeoutSeconds: 60,
      hardTimeoutSeconds: 600,
      match: ip,
      apply: [{ kind: "output", port: 1 }],
      goto: 254,
    },
  ],
  [
    "table=1, send_flow_rem reset_counts no_packet_counts no_byte_counts priority=5,arp actions=drop",
    {
      table: 1,
      priority: 5,
      cookie: 0n,
      flags: ["sendRemoved", "resetCounts", "noPacketCounts", "noByteCounts"],
      match: { ethType: 0x806 },
    },
  ],
  [
    "table=1, priority=5,ipv6 actions=set_field:0x1->reg0,clear_actions,write_actions(output:1),goto_table:2",
    {
      table: 1,
      priority: 5,
      cookie: 0n,
      match: ipv6,
      apply: [{ kind: "set", field: "reg0", value: 1 }],
      clear: true,
      write: [{ kind: "output", port: 1 }],
      goto: 2,
    },
  ],
];

const output = (port: number): readonly Action[] => [{ kind: "output", port }];

/** Groups, as `ovs-ofctl -O OpenFlow15 dump-groups` shows them. */
export const GROUPS: readonly [text: string, group: Group][] = [
  ["group_id=2,type=all", { id: 2, type: "all", buckets: [] }],
  [
    "group_id=3,type=all,bucket=bucket_id:0,actions=output:1,bucket=bucket_id:1,actions=drop",
    {
      id: 3,
      type: "all",
      buckets: [
        { id: 0, actions: output(1) },
        { id: 1, actions: [] },
      ],
    },
  ],
  [
    "group_id=4,type=indirect,bucket=bucket_id:9,actions=output:1",
    { id: 4, type: "indirect", buckets: [{ id: 9, actions: output(1) }] },
  ],
  [
    "group_id=5,type=select,bucket=bucket_id:0,weight:100,actions=ct(commit,table=40,zone=NXM_NX_REG3[0..15],nat(dst=10.0.0.1:80)),bucket=bucket_id:1,weight:37,actions=output:1",
    {
      id: 5,
      type: "select",
      buckets: [
        {
          id: 0,
          weight: 100,
          actions: [
            { kind: "ct", commit: true, zone, table: 40, nat: { change: "dst", address: "10.0.0.1", port: 80 } },
          ],
        },
        { id: 1, weight: 37, actions: output(1) },
      ],
    },
  ],
  [
    "group_id=6,type=select,selection_method=dp_hash,selection_method_param=7,bucket=bucket_id:0,actions=output:1",
    {
      id: 6,
      type: "select",
      selection: { method: "dp_hash", parameter: 7n },
      buckets: [{ id: 0, actions: output(1) }],
    },
  ],
  [
    "group_id=7,type=select,selection_method=hash,fields=ip_src,bucket=bucket_id:0,actions=output:1",
    {
      id: 7,
      type: "select",
      selection: { method: "hash", fields: ["ipv4Src"] },
      buckets: [{ id: 0, actions: output(1) }],
    },
  ],
  [
    "group_id=8,type=select,selection_method=hash,selection_method_param=3,fields(ip_src,tcp_src),bucket=bucket_id:0,actions=set_field:0x1->reg6,resubmit(,33)",
    {
      id: 8,
      type: "select",
      selection: { method: "hash", parameter: 3n, fields: ["ipv4Src", "tcpSrc"] },
      buckets: [
        {
          id: 0,
          actions: [
            { kind: "set", field: "reg6", value: 1 },
            { kind: "resubmit", table: 33 },
          ],
        },
      ],
    },
  ],
];
