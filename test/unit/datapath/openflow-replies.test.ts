import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { decodeReply, selectVersion } from "../../../cni/datapath/openflow/decode-message.ts";
import { formatError, MAX_ERRORS_KEPT, OpenflowErrorReply } from "../../../cni/datapath/openflow/errors.ts";
import { OpenflowDecoder } from "../../../cni/datapath/openflow/frame.ts";
import type { ErrorReply, Reply } from "../../../cni/datapath/openflow/message.ts";
import type { FlowStatistics } from "../../../cni/datapath/openflow/statistics.ts";
import { OPENFLOW_14, OPENFLOW_15, OpenflowProtocolError } from "../../../cni/datapath/openflow/wire.ts";
import { ACTIONS, FLOWS, MATCHES } from "../../cni/datapath/openflow-flows.ts";
import { flowEntry, frame } from "./openflow-frames.ts";

const PORT = `fffffffe 0048 0000 0a5800000001 0000 62722d696e7400000000000000000000 00000001 00000001
  0000 0020 00000000 000000000000000000000000000000000000000000000000`;

/** A reply of every kind. */
const REPLIES: Record<string, [frame: Buffer, reply: Reply]> = {
  hello: [frame(0, 1, "0001 0008 00000070"), { kind: "hello", versions: [4, 5, 6] }],
  "hello without a bitmap": [frame(0, 1), { kind: "hello", versions: [0, 1, 2, 3, 4, 5, 6] }],
  "hello with another element": [
    frame(0, 1, "0007 0005 ff 000000 0001 0008 00000040"),
    { kind: "hello", versions: [6] },
  ],
  error: [frame(1, 1, "0002 0004 060e0050"), { kind: "error", type: 2, code: 4 }],
  "error of Nicira's": [
    frame(1, 1, "ffff 000f 00002320 060e"),
    { kind: "error", type: 0xffff, code: 15, experimenter: 0x2320 },
  ],
  "error of hello": [frame(1, 1, "0000 0000 6e6f"), { kind: "error", type: 0, code: 0, text: "no" }],
  echo: [frame(2, 1, "0102"), { kind: "echoRequest", data: Buffer.from([1, 2]) }],
  features: [
    frame(6, 1, "0000000000000007 00000000 fe 00 0000 0000004f 00000000"),
    { kind: "features", datapathId: 7n, tables: 254 },
  ],
  barrier: [frame(21, 1), { kind: "barrierReply" }],
  bundle: [frame(33, 1, "00000009 0001 0003"), { kind: "bundleReply", bundle: 9 }],
  "port status": [
    frame(12, 0, `01 00000000000000 ${PORT}`),
    {
      kind: "portStatus",
      reason: "deleted",
      port: { number: 0xfffffffe, name: "br-int", mac: "0a:58:00:00:00:01", isDown: true, hasNoLink: true },
    },
  ],
  ports: [
    frame(19, 1, `000d 0001 00000000 ${PORT}`),
    {
      kind: "statistics",
      of: "ports",
      hasMore: true,
      entries: [{ number: 0xfffffffe, name: "br-int", mac: "0a:58:00:00:00:01", isDown: true, hasNoLink: true }],
    },
  ],
  aggregate: [
    frame(
      19,
      1,
      "0002 0000 00000000 0000 0024 80020604 00000003 80020808 0000000000000007 80020a08 0000000000000009 00000000",
    ),
    { kind: "statistics", of: "aggregate", hasMore: false, entries: [{ packets: 7n, bytes: 9n, flows: 3 }] },
  ],
  "aggregate of 1.4": [
    frame(19, 1, "0002 0000 00000000 0000000000000007 0000000000000009 00000003 00000000", 5),
    { kind: "statistics", of: "aggregate", hasMore: false, entries: [{ packets: 7n, bytes: 9n, flows: 3 }] },
  ],
  tables: [
    frame(19, 1, "0003 0000 00000000 0a 000000 00000005 0000000000000007 0000000000000006"),
    { kind: "statistics", of: "tables", hasMore: false, entries: [{ table: 10, flows: 5, lookups: 7n, matched: 6n }] },
  ],
  groups: [
    frame(
      19,
      1,
      `0006 0000 00000000 0038 0000 00000005 00000002 00000000 0000000000000007 0000000000000009 00000003 00000000
      0000000000000001 0000000000000002`,
    ),
    {
      kind: "statistics",
      of: "groups",
      hasMore: false,
      entries: [
        {
          group: 5,
          references: 2,
          packets: 7n,
          bytes: 9n,
          durationSeconds: 3,
          buckets: [{ packets: 1n, bytes: 2n }],
        },
      ],
    },
  ],
  "a fast-failover group of others": [
    frame(19, 1, "0007 0000 00000000 0010 03 00 00000005 0000 000000000000"),
    {
      kind: "statistics",
      of: "groupDescriptions",
      hasMore: false,
      entries: [
        { group: { id: 5, type: "all", buckets: [] }, unsupported: "the description of a group: group 5 of type 3" },
      ],
    },
  ],
  other: [frame(10, 1, "00"), { kind: "other", type: 10 }],
};

function decode(bytes: Buffer): Reply {
  const [message, ...rest] = new OpenflowDecoder().push(bytes);
  assert.ok(message && rest.length === 0);
  return decodeReply(message);
}

/** Numbers from 0 up to the limit, the same in every run (mulberry32). */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return limit => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

const flowFrames = ([OPENFLOW_14, OPENFLOW_15] as const).map(version => {
  const flows = [
    ...FLOWS.map(([, flow]) => flow),
    ...MATCHES.map(([, match]) => ({ table: 1, priority: 1, cookie: 0n, match })),
    ...ACTIONS.map(([, apply]) => ({ table: 1, priority: 1, cookie: 0n, match: {}, apply })),
  ];
  const head = Buffer.from("0001000000000000", "hex");
  const body = Buffer.concat([head, ...flows.map(flow => flowEntry(flow, version))]);
  return { flows, bytes: frame(19, 1, body, version) };
});

describe("OpenFlow replies", () => {
  for (const [name, [bytes, reply]] of Object.entries(REPLIES))
    it(`decode: ${name}`, () => {
      const found = decode(bytes);
      assert.deepEqual(found, reply);
    });

  it("decode flows with their counters in both versions", () => {
    for (const { flows, bytes } of flowFrames) {
      const reply = decode(bytes);
      assert.ok(reply.kind === "statistics" && reply.of === "flows");
      assert.deepEqual(
        reply.entries,
        flows.map(flow => ({ flow, packets: 7n, bytes: 448n, durationSeconds: 5 })),
      );
    }
  });

  it("keep a flow of others whose match or actions are not known", () => {
    const parts = {
      match: "0001 000c 80000408 0000000000000009 00000000 0000 0004 00000000",
      action: "0001 0004 00000000 0000 0004 00000000 0004 0010 00000000 001b 0008 00000000",
    };
    for (const [what, part] of Object.entries(parts)) {
      const rest = Buffer.from(
        `0000 0300 0005 0000 0000 0000 0000 0000000000000009 ${part}`.replaceAll(" ", ""),
        "hex",
      );
      const length = Buffer.from([0, rest.length + 2]);
      const reply = decode(frame(19, 1, Buffer.concat([Buffer.from("0001000000000000", "hex"), length, rest])));
      assert.ok(reply.kind === "statistics" && reply.of === "flows");
      const [entry] = reply.entries as readonly FlowStatistics[];
      assert.deepEqual([entry?.flow.table, entry?.flow.cookie], [3, 9n], what);
      assert.match(entry?.unsupported ?? "", what === "match" ? /field 2 of class 0x8000/ : /action 27: an action/);
    }
  });

  it("reject a message that ends early and say what was missing", () => {
    for (const [name, [bytes]] of Object.entries(REPLIES)) {
      if (["hello", "echo", "barrier", "other"].some(free => name.startsWith(free))) continue;
      const cut = Buffer.from(bytes.subarray(0, 9));
      cut.writeUInt16BE(9, 2);
      assert.throws(
        () => decode(cut),
        { name: "OpenflowProtocolError", message: /\d+ bytes expected, \d+ left$/ },
        name,
      );
    }
  });

  it("are decoded or rejected as damaged when any of their bytes change", () => {
    const next = random(20261127);
    const valid = [...Object.values(REPLIES).map(([bytes]) => bytes), ...flowFrames.map(({ bytes }) => bytes)];
    for (let round = 0; round < 5_000; round++) {
      const bytes = Buffer.from(valid[next(valid.length)] ?? []);
      for (let flips = next(4); flips >= 0; flips--) {
        const at = 4 + next(bytes.length - 4);
        bytes[at] = next(256);
      }
      const type = bytes[1] ?? 0;
      const message = { version: bytes[0] ?? 0, type, xid: 1, body: bytes.subarray(8, 8 + next(bytes.length)) };
      try {
        decodeReply(message);
      } catch (error) {
        assert.ok(error instanceof OpenflowProtocolError, `${error}: ${bytes.toString("hex")}`);
      }
    }
  });

  it("select the highest version that both ends speak", () => {
    assert.deepEqual([[4, 5, 6, 7], [1, 5], [4], []].map(selectVersion), [6, 5, undefined, undefined]);
  });
});

describe("OpenFlow errors", () => {
  const texts: [reply: Omit<ErrorReply, "kind">, text: string][] = [
    [{ type: 2, code: 4 }, "bad action (OFPBAC_BAD_OUT_PORT)"],
    [{ type: 4, code: 9 }, "bad match (OFPBMC_BAD_PREREQ)"],
    [{ type: 6, code: 8 }, "group rejected (OFPGMFC_UNKNOWN_GROUP)"],
    [{ type: 17, code: 13 }, "bundle rejected (OFPBFC_MSG_FAILED)"],
    [{ type: 0xffff, code: 15, experimenter: 0x2320 }, "bad conjunction (NXBAC_BAD_CONJUNCTION)"],
    [{ type: 0xffff, code: 999, experimenter: 0x2320 }, "rejected (Nicira's error 999)"],
    [{ type: 2, code: 99 }, "bad action (error type 2, code 99)"],
    [{ type: 99, code: 0 }, "rejected (error type 99, code 0)"],
    [{ type: 0, code: 0, text: "we want 1.3" }, "hello failed (OFPHFC_INCOMPATIBLE): we want 1.3"],
  ];

  it("are shown by their standard names", () => {
    for (const [reply, text] of texts) assert.equal(formatError({ kind: "error", ...reply }), text);
  });

  it("name the first requests that were rejected and count the others", () => {
    const flow = { table: 1, priority: 1, cookie: 0n, match: {} };
    const request = { kind: "flow", command: "add", flow } as const;
    const rejections = Array.from({ length: MAX_ERRORS_KEPT }, () => ({
      request,
      reply: { kind: "error", type: 2, code: 4 } as const,
    }));
    const { message } = new OpenflowErrorReply(rejections, 5_000);
    const one = "bad action (OFPBAC_BAD_OUT_PORT): add flow table=1, priority=1 actions=drop";
    assert.equal(message, `${one}; ${one}; ${one}; and 4997 more`);
  });
});
