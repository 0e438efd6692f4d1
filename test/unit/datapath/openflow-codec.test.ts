import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Action, slice } from "../../../cni/datapath/openflow/actions/action.ts";
import { decodeActions } from "../../../cni/datapath/openflow/actions/decode.ts";
import { encodeActions } from "../../../cni/datapath/openflow/actions/encode.ts";
import { formatActions } from "../../../cni/datapath/openflow/actions/text.ts";
import { encodeRequest } from "../../../cni/datapath/openflow/encode-message.ts";
import { decodeFlags, decodeInstructions, type Flow } from "../../../cni/datapath/openflow/flow.ts";
import { decodeGroup, type Group } from "../../../cni/datapath/openflow/group.ts";
import { decodeMatch, encodeMatch, type Match } from "../../../cni/datapath/openflow/match/match.ts";
import { formatMatch } from "../../../cni/datapath/openflow/match/text.ts";
import type { Request } from "../../../cni/datapath/openflow/message.ts";
import { formatFlow, formatGroup, formatRequest } from "../../../cni/datapath/openflow/text.ts";
import { OPENFLOW_14, OPENFLOW_15, Reader, type Version, Writer } from "../../../cni/datapath/openflow/wire.ts";
import { ACTIONS, FLOWS, GROUPS, MATCHES } from "../../cni/datapath/openflow-flows.ts";

const VERSIONS = [OPENFLOW_14, OPENFLOW_15] as const;

function write(version: Version, body: (writer: Writer) => void): Buffer {
  const writer = new Writer(version, 1);
  body(writer);
  return writer.finish();
}

const read = (bytes: Buffer, version: Version) => new Reader(bytes, version, "test");
const encode = (request: Request, version: Version = OPENFLOW_15) =>
  write(version, writer => encodeRequest(writer, 0x01020304, request));
const hex = (text: string) => text.replaceAll(/\s/g, "");

const flow: Flow = { table: 1, priority: 2, cookie: 3n, match: {} };
const add = (more: Partial<Flow>): Request => ({ kind: "flow", command: "add", flow: { ...flow, ...more } });
const apply = (...actions: Action[]) => add({ apply: actions });

describe("the OpenFlow codec", () => {
  for (const version of VERSIONS) {
    it(`returns every match that it wrote, version ${version}`, () => {
      for (const [text, match] of MATCHES) {
        const bytes = write(version, writer => encodeMatch(writer, match));
        assert.equal(bytes.length % 8, 0, text);
        assert.deepEqual(decodeMatch(read(bytes, version)), match, text);
      }
    });

    it(`returns every action that it wrote, version ${version}`, () => {
      for (const [text, actions] of ACTIONS) {
        const bytes = write(version, writer => encodeActions(writer, actions));
        assert.deepEqual(decodeActions(read(bytes, version)), actions, text);
      }
    });

    it(`returns every flow that it wrote, version ${version}`, () => {
      for (const [text, wanted] of FLOWS) {
        const reader = read(encode({ kind: "flow", command: "add", flow: wanted }, version), version);
        reader.skip(8);
        const cookie = reader.uint64();
        reader.skip(8);
        const table = reader.uint(1);
        reader.skip(1);
        const [idle, hard, priority] = [reader.uint(2), reader.uint(2), reader.uint(2)];
        reader.skip(12);
        const flags = decodeFlags(reader.uint(2));
        reader.skip(2);
        const found = { table, priority, cookie, match: decodeMatch(reader), ...decodeInstructions(reader) };
        const timeouts = {
          ...(idle ? { idleTimeoutSeconds: idle } : {}),
          ...(hard ? { hardTimeoutSeconds: hard } : {}),
        };
        assert.deepEqual({ ...found, ...timeouts, ...(flags.length > 0 ? { flags } : {}) }, wanted, text);
      }
    });
  }

  it("returns every group that it wrote", () => {
    for (const [text, group] of GROUPS) assert.deepEqual(describeGroup(group, OPENFLOW_15), group, text);
  });

  it("sends groups without selection and bucket ids over OpenFlow 1.4", () => {
    for (const [text, group] of GROUPS) {
      const buckets = group.buckets.map((bucket, id) => ({ ...bucket, id }));
      assert.deepEqual(describeGroup(group, OPENFLOW_14), { id: group.id, type: group.type, buckets }, text);
    }
  });

  it("writes a flow as OpenFlow 1.5 lays it out", () => {
    const bytes = encode(add({ match: { inPort: 2, vlanVid: { value: 0x1000, mask: 0x1000 } }, goto: 10 }));
    const expected = `060e 0050 01020304
      0000000000000003 0000000000000000 01 00 0000 0000 0002 ffffffff ffffffff ffffffff 0000 0000
      0001 0014 80000004 00000002 80000d04 1000 1000 00000000
      0001 0008 0a 000000`;
    assert.equal(bytes.toString("hex"), hex(expected));
  });

  it("writes a flush of connections as OVS lays it out", () => {
    const original = { destination: "10.0.0.1", destinationPort: 80 };
    const bytes = encode({ kind: "flushConnections", protocol: 6, zone: 5, original });
    const expected = `0604 0048 01020304 00002320 00000020 06 00000000000000
      0000 0028 00000000 0001 0014 00000000000000000000ffff0a000001 00000000 0003 0006 0050 0000
      0002 0006 0005 0000`;
    assert.equal(bytes.toString("hex"), hex(expected));
  });

  it("shows flows, groups and requests as ovs-ofctl does", () => {
    for (const [text, match] of MATCHES) assert.equal(formatMatch(match), text);
    for (const [text, actions] of ACTIONS) assert.equal(formatActions(actions), text);
    for (const [text, each] of FLOWS) assert.equal(formatFlow(each), text);
    for (const [text, group] of GROUPS) assert.equal(formatGroup(group), text);
    const filter = { table: 3, cookie: 16n, cookieMask: 255n, match: { ethType: 0x800 }, outPort: 7 };
    assert.equal(
      formatRequest({ kind: "flow", command: "deleteStrict", filter, priority: 9 }),
      "deleteStrict flows priority=9,cookie=0x10/0xff,table=3,out_port=7,ip",
    );
    assert.equal(formatRequest({ kind: "group", command: "delete", id: "all" }), "delete group group_id=all");
  });

  it("orders a match's fields by their prerequisites, however they were given", () => {
    const match: Match = { tcpDst: 80, ipv4Dst: "10.0.0.1", ipProto: 6, ethType: 0x800 };
    const sorted: Match = { ethType: 0x800, ipProto: 6, ipv4Dst: "10.0.0.1", tcpDst: 80 };
    const [given, expected] = [match, sorted].map(each => write(OPENFLOW_15, writer => encodeMatch(writer, each)));
    assert.deepEqual(given, expected);
  });

  it("reads registers that OVS sends in pairs", () => {
    const pairs: [bytes: string, match: Match][] = [
      ["0001 0010 80010008 00000001 00000002", { reg0: 1, reg1: 2 }],
      ["0001 0018 80010310 00000001 00000002 000000ff 00000000", { reg2: { value: 1, mask: 255 } }],
      ["0001 0018 80010f10 00000000 00000009 00000000 ffffffff", { reg15: 9 }],
    ];
    for (const [bytes, match] of pairs)
      assert.deepEqual(decodeMatch(read(Buffer.from(hex(bytes), "hex"), OPENFLOW_15)), match);
  });

  it("rejects values that OpenFlow cannot carry and names field, value and flow", () => {
    const rejected: [request: Request, message: RegExp][] = [
      [
        add({ priority: 65536 }),
        /^priority is 65536: must be an integer from 0 to 65535, in: add flow .*priority=65536/,
      ],
      [add({ table: -1 }), /^table is -1: must be an integer from 0 to 255/],
      [add({ cookie: -1n }), /^cookie is -1: must be an integer of 64 bits/],
      [add({ match: { tcpDst: 1.5 } }), /^tcp_dst is 1.5: must be an integer from 0 to 65535/],
      [add({ match: { ipv4Dst: "10.0.0" } }), /^ip_dst is "10.0.0": must be an IPv4 address, alone or with a prefix/],
      [add({ match: { ipv4Dst: "10.0.0.0/33" } }), /^ip_dst is "10.0.0.0\/33"/],
      [add({ match: { ipv4Dst: "fd00::1" } }), /^ip_dst is "fd00::1"/],
      [add({ match: { ipv6Src: "10.0.0.1" } }), /^ipv6_src is "10.0.0.1": must be an IPv6 address/],
      [add({ match: { ethSrc: "0a:58" } }), /^eth_src is "0a:58": must be a MAC address/],
      [add({ match: { ethSrc: "0a:58:00:00:00:01/8" } }), /^eth_src is "0a:58:00:00:00:01\/8"/],
      [add({ match: { ctState: "+trk+bad" } }), /^ct_state is "\+trk\+bad": must be \+ or - and one of new, est/],
      [add({ match: { ctState: "" } }), /^ct_state is ""/],
      [apply({ kind: "output", port: 2 ** 32 }), /^output port is 4294967296: must be an integer from 0 to 4294967295/],
      [apply({ kind: "note", data: "xyz" }), /^note is "xyz": must be pairs of hexadecimal digits/],
      [apply({ kind: "conjunction", id: 1, clause: 3, clauses: 2 }), /^conjunction is "3\/2": must be k\/n of/],
      [apply({ kind: "move", from: slice("reg0"), to: slice("reg1", 0, 16) }), /^bits moved to reg1 is 16: must be 32/],
      [
        apply({ kind: "outputField", from: slice("ipv6Src") }),
        /^bits of ipv6Src is 128: must be a number from 1 to 64/,
      ],
      [apply({ kind: "ct", zone: 0, nat: { change: "dst", address: "0.0.0.0" } }), /^nat address is "0.0.0.0"/],
      [
        apply({ kind: "ct", zone: 0, nat: { change: "dst", address: "10.0.0.1", addressTo: "fd00::1" } }),
        /^nat address is "fd00::1": must be .* of one family/,
      ],
      [
        apply({ kind: "ct", zone: 0, nat: { address: "10.0.0.1" } }),
        /^nat change is undefined: must be "src" or "dst"/,
      ],
      [apply({ kind: "ct", zone: 0, nat: { change: "dst", port: 80 } }), /^nat address is undefined/],
      [
        apply({ kind: "ct", zone: 0, nat: { change: "dst", address: "10.0.0.1", portTo: 80 } }),
        /^nat port is undefined: must be a port/,
      ],
      [learn(slice("ethDst"), 1), /^learn eth_dst is 1: must be a constant of at most 32 bits/],
      [learn(slice("reg0", 0, 4), 16), /^learn reg0 is 16/],
      [learn(slice("reg0", 0, 4), slice("reg1")), /^learn reg1 is 32: must be of 4 bits/],
      [
        { kind: "flushConnections", protocol: 6, original: { source: "nowhere" } },
        /^source is "nowhere": must be an IP address, in: flushConnections$/,
      ],
    ];
    for (const [request, message] of rejected)
      assert.throws(() => encode(request), { name: "OpenflowValueError", message }, String(message));
  });

  it("rejects bucket commands over OpenFlow 1.4", () => {
    const message = /^group command is "removeBucket": must be sent over OpenFlow 1.5/;
    const request: Request = { kind: "group", command: "removeBucket", id: 1, bucket: "all" };
    assert.throws(() => encode(request, OPENFLOW_14), { message });
    assert.equal(encode(request).length, 24);
  });

  it("rejects a message longer than 65535 bytes and leaves no part of it", () => {
    const buckets = Array.from({ length: 5_000 }, (_, id) => ({ id, actions: [{ kind: "output", port: 1 } as const] }));
    const writer = new Writer(OPENFLOW_15);
    const request: Request = { kind: "group", command: "add", group: { id: 1, type: "all", buckets } };
    assert.throws(() => encodeRequest(writer, 1, request), {
      name: "OpenflowValueError",
      message:
        /^the length of the buckets of a group is 120000: must be at most 65535 bytes, in: add group group_id=1,/,
    });
    assert.equal(writer.length, 0);
  });
});

function learn(to: ReturnType<typeof slice>, from: ReturnType<typeof slice> | number): Request {
  const specs = [{ kind: "match", to, from } as const];
  const timeouts = { idleTimeoutSeconds: 0, hardTimeoutSeconds: 0 };
  return apply({ kind: "learn", table: 1, priority: 1, cookie: 0n, ...timeouts, specs });
}

/** The group as a description of it has it, made from the message that adds it. */
function describeGroup(group: Group, version: Version): Group {
  const added = encode({ kind: "group", command: "add", group }, version).subarray(8);
  if (version === OPENFLOW_14) return decodeGroup(read(added.subarray(8), version), group.id, added[2] ?? 0);
  const padded = Buffer.concat([added.subarray(8, 10), Buffer.alloc(6), added.subarray(16)]);
  return decodeGroup(read(padded, version), group.id, added[2] ?? 0);
}
