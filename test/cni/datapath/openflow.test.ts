import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { Deadline } from "../../../cni/datapath/deadline.ts";
import { OpenflowConnection } from "../../../cni/datapath/openflow/connection.ts";
import type { Flow } from "../../../cni/datapath/openflow/flow.ts";
import type { BundledRequest } from "../../../cni/datapath/openflow/message.ts";
import { formatFlow } from "../../../cni/datapath/openflow/text.ts";
import { eventually, Ovs, run, skip, testTimeoutMs } from "./node.ts";
import { ACTIONS, FLOWS, GROUPS, MATCHES } from "./openflow-flows.ts";

const limits = () => ({ deadline: new Deadline(testTimeoutMs) });
const flow = (reg0: number, more: Partial<Flow> = {}): BundledRequest => ({
  kind: "flow",
  command: "add",
  flow: { table: 10, priority: 1, cookie: 5n, match: { reg0 }, apply: [{ kind: "output", port: 1 }], ...more },
});
const CLEAR: BundledRequest[] = [
  { kind: "flow", command: "delete", filter: {} },
  { kind: "group", command: "delete", id: "all" },
];

/** OFPP_TABLE: the packet meets the flows. */
const TO_TABLES = [{ kind: "output", port: 0xfffffff9 }] as const;

/** A UDP packet from 10.0.0.1, port 1024, in an Ethernet frame. */
function udp(destination: string, port: number): Buffer {
  const packet = Buffer.alloc(60);
  packet.write("0a58000000020a5800000001080045000020000000004011", "hex");
  packet.set([10, 0, 0, 1, ...destination.split(".").map(Number)], 26);
  packet.writeUInt16BE(1024, 34);
  packet.writeUInt16BE(port, 36);
  packet.writeUInt16BE(12, 38);
  let sum = 0;
  for (let at = 14; at < 34; at += 2) sum += packet.readUInt16BE(at);
  packet.writeUInt16BE(~((sum & 0xffff) + (sum >> 16)) & 0xffff, 24);
  return packet;
}

describe("OpenFlow on Open vSwitch", { skip }, () => {
  let ovs: Ovs;
  let connection: OpenflowConnection;
  const socket = () => `${ovs.directory}/br-int.mgmt`;
  const open = () => OpenflowConnection.open(socket(), limits());

  /** What ovs-ofctl shows of flows or groups, a line each. */
  function dump(what: "dump-flows" | "dump-groups", protocol = "OpenFlow15"): string[] {
    const lines = run("ovs-ofctl", "-O", protocol, "--no-names", "--no-stats", what, socket()).split("\n");
    return lines.map(line => line.trim()).filter(line => line !== "" && !line.startsWith("OFPST"));
  }

  before(async () => {
    ovs = await Ovs.start();
    connection = await open();
  });
  afterEach(() => connection.send(CLEAR, limits()));
  after(async () => {
    await connection[Symbol.asyncDispose]();
    await ovs[Symbol.asyncDispose]();
  });

  for (const protocol of ["OpenFlow15", "OpenFlow14"] as const) {
    describe(`over ${protocol}`, () => {
      before(async () => {
        ovs.vsctl("set", "bridge", "br-int", `protocols=${protocol}`);
        await connection[Symbol.asyncDispose]();
        connection = await open();
      });

      const hasBuckets = protocol === "OpenFlow15";
      const flows: Flow[] = [
        ...FLOWS.map(([, each]) => each),
        ...MATCHES.map(([, match]) => ({ table: 2, priority: 5, cookie: 0n, match })),
        ...ACTIONS.map(([, apply, match = {}]) => ({ table: 3, priority: 5, cookie: 0n, match, apply })),
      ];

      it("agrees on that version", () => {
        assert.equal(connection.version, hasBuckets ? 6 : 5);
      });

      it("programs every match, action and instruction as ovs-ofctl shows them", async () => {
        const group = { id: 1, type: "all", buckets: [] } as const;
        await connection.send([...CLEAR, { kind: "group", command: "add", group }], limits());
        for (const wanted of flows) {
          const clear = { kind: "flow", command: "delete", filter: {} } as const;
          await connection.commit([clear, { kind: "flow", command: "add", flow: wanted }], limits());
          const [read, ...others] = await connection.read("flows", limits());
          assert.deepEqual([read?.flow, others], [wanted, []], formatFlow(wanted));
          assert.deepEqual(dump("dump-flows", protocol), [formatFlow(wanted)]);
        }
      });

      it("programs every group as ovs-ofctl shows it", async () => {
        for (const [text, group] of GROUPS) {
          await connection.commit([...CLEAR, { kind: "group", command: "add", group }], limits());
          const shown = hasBuckets
            ? text
            : text.replace(/,selection.*?(?=,bucket)/, "").replaceAll(/bucket_id:\d+,/g, "");
          assert.deepEqual(dump("dump-groups", protocol), [shown]);
          const [read] = await connection.read("groupDescriptions", limits());
          const buckets = group.buckets.map((bucket, id) => ({ ...bucket, id }));
          assert.deepEqual(read?.group, hasBuckets ? group : { id: group.id, type: group.type, buckets });
        }
      });

      it("changes nothing by a bundle with one bad message, and names it", async () => {
        await connection.commit([flow(1)], limits());
        const bad: [request: BundledRequest, message: RegExp][] = [
          [
            flow(3, { apply: [{ kind: "output", port: 70_000 }] }),
            /^bad action \(OFPBAC_BAD_OUT_PORT\): add flow cookie=0x5, table=10, priority=1,reg0=0x3 actions=output:70000$/,
          ],
          [
            flow(3, { apply: [{ kind: "group", group: 99 }] }),
            /^bad action \(OFPBAC_BAD_OUT_GROUP\): add flow .*reg0=0x3 actions=group:99$/,
          ],
          [
            { kind: "group", command: "modify", group: { id: 99, type: "all", buckets: [] } },
            /^group rejected \(OFPGMFC_UNKNOWN_GROUP\): modify group group_id=99,type=all$/,
          ],
        ];
        for (const [request, message] of bad) {
          const requests = [...CLEAR, flow(2), request, flow(4)];
          await assert.rejects(connection.commit(requests, limits()), {
            name: "OpenflowErrorReply",
            count: 1,
            message,
          });
          const [kept, ...others] = await connection.read("flows", limits());
          assert.deepEqual([kept?.flow.match, others], [{ reg0: 1 }, []]);
        }
      });

      it("names the flow of an error, Nicira's errors too, and keeps the others", async () => {
        const conjunction = { kind: "conjunction", id: 1, clause: 1, clauses: 2 } as const;
        const mixed = flow(2, { apply: [conjunction, { kind: "output", port: 1 }] });
        await assert.rejects(connection.send([flow(1), mixed, flow(3, { goto: 3 }), flow(4)], limits()), {
          count: 2,
          message:
            /^bad conjunction \(NXBAC_BAD_CONJUNCTION\): .*reg0=0x2 .*; bad instruction \(OFPBIC_BAD_TABLE_ID\): .*reg0=0x3 /,
        });
        const [sum] = await connection.read("aggregate", limits(), { cookie: 5n });
        assert.equal(sum?.flows, 2);
      });

      it("commits 10,000 flows in one bundle and deletes them by cookie and match", async () => {
        await connection.commit(
          Array.from({ length: 10_000 }, (_, n) => flow(n)),
          limits(),
        );
        const read = await connection.read("flows", limits(), { table: 10, cookie: 4n, cookieMask: 6n });
        assert.equal(read.length, 10_000);
        const tables = await connection.read("tables", limits());
        assert.equal(tables.find(({ table }) => table === 10)?.flows, 10_000);
        const match = { reg0: { value: 0, mask: 0xfffff000 } };
        const filter = { table: 10, match: { reg0: 9_999 } };
        await connection.commit(
          [
            { kind: "flow", command: "delete", filter: { cookie: 5n, match } },
            { kind: "flow", command: "deleteStrict", filter, priority: 1 },
            { kind: "flow", command: "deleteStrict", filter, priority: 2 },
          ],
          limits(),
        );
        const [sum] = await connection.read("aggregate", limits());
        assert.equal(sum?.flows, 10_000 - 4_096 - 1);
      });

      it("counts packets by flow and by bucket", async () => {
        const buckets = [{ id: 0, actions: [] }];
        await connection.commit(
          [
            { kind: "group", command: "addOrModify", group: { id: 7, type: "all", buckets } },
            {
              kind: "flow",
              command: "add",
              flow: { table: 0, priority: 1, cookie: 9n, match: {}, apply: [{ kind: "group", group: 7 }] },
            },
          ],
          limits(),
        );
        const packet = Buffer.alloc(60, "ffffffffffff0a580000000188cc", "hex");
        await connection.send([{ kind: "packetOut", actions: TO_TABLES, packet }], limits());
        await eventually("the packet is counted", async () => {
          const [counted] = await connection.read("flows", limits(), { cookie: 9n });
          const [group] = await connection.read("groups", limits());
          return (
            counted?.packets === 1n && counted.bytes === 60n && group?.references === 1 && group.buckets.length === 1
          );
        });
      });

      it("flushes connections by tuple and by zone", async () => {
        const ct = (zone: number) => [{ kind: "ct", commit: true, zone } as const];
        const match = { ethType: 0x800, ipv4Dst: "10.0.0.9" };
        await connection.commit(
          [
            flow(0, { table: 0, match: { ethType: 0x800 }, apply: ct(5) }),
            flow(0, { table: 0, priority: 2, match, apply: ct(6) }),
          ],
          limits(),
        );
        const connections = () =>
          ovs
            .appctl("dpctl/dump-conntrack")
            .match(/(?<=orig=\(src=10.0.0.1,dst=10.0.0.)\d/g)
            ?.sort();
        await connection.send(
          [2, 3, 9].map(host => ({ kind: "packetOut", actions: TO_TABLES, packet: udp(`10.0.0.${host}`, 53) })),
          limits(),
        );
        assert.deepEqual(await eventually("three connections", () => connections()?.length === 3 && connections()), [
          "2",
          "3",
          "9",
        ]);
        const original = { source: "10.0.0.1", destination: "10.0.0.2", destinationPort: 53 };
        await connection.send([{ kind: "flushConnections", protocol: 17, zone: 5, original }], limits());
        assert.deepEqual(connections(), ["3", "9"]);
        await connection.send([{ kind: "flushZone", zone: 5 }], limits());
        assert.deepEqual(connections(), ["9"]);
        await connection.send([{ kind: "flushZone", zone: 6 }], limits());
      });

      it("reports ports that come and go", async () => {
        const seen: string[] = [];
        const undo = await connection.watchPorts(({ reason, port }) => seen.push(`${reason} ${port.name}`), limits());
        ovs.vsctl("add-port", "br-int", "seen", "--", "set", "interface", "seen", "type=internal");
        await eventually("the port is reported", () => seen.includes("added seen"));
        const ports = await connection.read("ports", limits());
        assert.deepEqual(ports.map(({ name }) => name).sort(), ["br-int", "seen"]);
        ovs.vsctl("del-port", "br-int", "seen");
        await eventually("its end is reported", () => seen.includes("deleted seen"));
        undo();
      });
    });
  }

  it("inserts and removes buckets of a group over OpenFlow 1.5", async () => {
    ovs.vsctl("set", "bridge", "br-int", "protocols=OpenFlow15");
    await using wide = await open();
    const bucket = (id: number) => ({ id, actions: [{ kind: "output", port: id } as const] });
    const ids = async () => (await wide.read("groupDescriptions", limits()))[0]?.group.buckets.map(({ id }) => id);
    const group = { id: 1, type: "all", buckets: [bucket(1)] } as const;
    const insert = { kind: "group", command: "insertBuckets", id: 1 } as const;
    await wide.commit([...CLEAR, { kind: "group", command: "add", group }], limits());
    await wide.commit([{ ...insert, at: "last", buckets: [bucket(4)] }], limits());
    await wide.commit([{ ...insert, at: 1, buckets: [bucket(2), bucket(3)] }], limits());
    assert.deepEqual(await ids(), [1, 2, 3, 4]);
    const remove = { kind: "group", command: "removeBucket", id: 1 } as const;
    await wide.commit(
      [
        { ...remove, bucket: 2 },
        { ...remove, bucket: "first" },
      ],
      limits(),
    );
    assert.deepEqual(await ids(), [3, 4]);
    await wide.commit([{ ...remove, bucket: "all" }], limits());
    assert.deepEqual(await ids(), []);
    ovs.vsctl("clear", "bridge", "br-int", "protocols");
    await connection[Symbol.asyncDispose]();
    connection = await open();
  });

  it("rejects all calls when ovs-vswitchd dies, and opens again when it is back", async () => {
    const lost = /closed the OpenFlow connection|ECONNRESET|EPIPE/;
    // Stopped, it answers nothing, so that the call is still pending when it dies.
    ovs.pauseSwitch();
    const pending = connection.commit([flow(1)], limits());
    const rejected = assert.rejects(pending, lost);
    await ovs.stopSwitch();
    await rejected;
    assert.match((await connection.closed).message, lost);
    await assert.rejects(connection.barrier(limits()), lost);
    await ovs.startSwitch();
    const again = await eventually("the bridge is back", () => open().catch(() => undefined));
    assert.ok(again);
    connection = again;
    await connection.commit([flow(1)], limits());
    assert.ok(dump("dump-flows").includes("cookie=0x5, table=10, priority=1,reg0=0x1 actions=output:1"));
  });
});
