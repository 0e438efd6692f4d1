import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Deadline } from "../../../cni/datapath/deadline.ts";
import { OpenflowConnection } from "../../../cni/datapath/openflow/connection.ts";
import { type Frame, OpenflowDecoder } from "../../../cni/datapath/openflow/frame.ts";
import { MESSAGE } from "../../../cni/datapath/openflow/message.ts";
import { frame } from "./openflow-frames.ts";

const directory = mkdtempSync(join(tmpdir(), "mooring-openflow-"));
const stack = new DisposableStack();
let switches = 0;
after(() => {
  stack.dispose();
  rmSync(directory, { recursive: true });
});

const limits = (timeoutMs = 5_000, signal?: AbortSignal) => ({
  deadline: new Deadline(timeoutMs),
  ...(signal ? { signal } : {}),
});
const HELLO = (version = 6) => frame(MESSAGE.hello, 1, "0001 0008 00000070", version);
const flow = (reg0: number) =>
  ({ kind: "flow", command: "add", flow: { table: 1, priority: 1, cookie: 0n, match: { reg0 } } }) as const;

/** A switch of which the test writes every answer; one that returns nothing is answered as OVS would. */
async function serve(
  answer: (message: Frame, socket: Socket) => Buffer | "nothing" | undefined,
  hello: Buffer = HELLO(),
): Promise<string> {
  const path = join(directory, `${++switches}`);
  const server = createServer(socket => {
    const decoder = new OpenflowDecoder();
    stack.defer(() => void socket.destroy());
    socket.on("error", () => undefined);
    socket.write(hello);
    socket.on("data", chunk => {
      for (const message of decoder.push(chunk)) {
        const bytes = answer(message, socket) ?? DEFAULT[message.type]?.(message);
        if (bytes !== undefined && bytes !== "nothing") socket.write(bytes);
      }
    });
  });
  stack.defer(() => void server.close());
  await new Promise<void>(resolve => server.listen(path, resolve));
  return path;
}

const DEFAULT: Record<number, (message: Frame) => Buffer> = {
  [MESSAGE.barrierRequest]: ({ xid }) => frame(MESSAGE.barrierReply, xid),
  [MESSAGE.echoRequest]: ({ xid }) => frame(MESSAGE.echoReply, xid),
  [MESSAGE.bundleControl]: ({ xid, body }) => frame(MESSAGE.bundleControl, xid, body),
};

const bundleCommands = (seen: Frame[]) =>
  seen.filter(({ type }) => type === MESSAGE.bundleControl).map(({ body }) => body.readUInt16BE(4));

describe("OpenflowConnection", () => {
  it("matches answers to calls by xid, in any order", async () => {
    const held: Buffer[] = [];
    const path = await serve(({ type, xid }, socket) => {
      if (type !== MESSAGE.barrierRequest) return undefined;
      held.unshift(frame(MESSAGE.barrierReply, xid));
      if (held.length === 3) socket.write(Buffer.concat(held));
      return "nothing";
    });
    await using connection = await OpenflowConnection.open(path, limits());
    await Promise.all([1, 2, 3].map(() => connection.barrier(limits())));
    assert.equal(held.length, 3);
  });

  it("joins the parts of an answer", async () => {
    const part = (xid: number, more: number, table: number) =>
      frame(MESSAGE.multipartReply, xid, `0003 000${more} 00000000 0${table} 000000 00000005 ${"0".repeat(32)}`);
    const path = await serve(({ type, xid }) =>
      type === MESSAGE.multipartRequest ? Buffer.concat([part(xid, 1, 1), part(xid, 0, 2)]) : undefined,
    );
    await using connection = await OpenflowConnection.open(path, limits());
    const tables = await connection.read("tables", limits());
    assert.deepEqual(
      tables.map(({ table }) => table),
      [1, 2],
    );
  });

  it("answers an echo with its data", async () => {
    const echoed = Promise.withResolvers<Frame>();
    const path = await serve(message => {
      if (message.type === MESSAGE.echoReply) echoed.resolve(message);
      return message.type === MESSAGE.hello ? frame(MESSAGE.echoRequest, 77, "cafe") : undefined;
    });
    await using _ = await OpenflowConnection.open(path, limits());
    const { xid, body } = await echoed.promise;
    assert.deepEqual([xid, body.toString("hex")], [77, "cafe"]);
  });

  it("discards a bundle with a rejected message, and names its flow", async () => {
    const seen: Frame[] = [];
    const path = await serve(message => {
      seen.push(message);
      const isSecond =
        message.type === MESSAGE.bundleAdd && message.body.includes(Buffer.from("00010004000007d2", "hex"));
      return isSecond ? frame(MESSAGE.error, message.xid, "0005 0001") : undefined;
    });
    await using connection = await OpenflowConnection.open(path, limits());
    await assert.rejects(connection.commit([flow(2001), flow(2002), flow(2003)], limits()), {
      name: "OpenflowErrorReply",
      count: 1,
      message: "flow rejected (OFPFMFC_TABLE_FULL): add flow table=1, priority=1,reg0=0x7d2 actions=drop",
    });
    await connection.barrier(limits());
    assert.deepEqual(bundleCommands(seen), [0, 6]);
  });

  it("names the flow that a commit fails by", async () => {
    let first = 0;
    const path = await serve(({ type, xid, body }) => {
      if (type === MESSAGE.bundleAdd && first === 0) first = xid;
      const isCommit = type === MESSAGE.bundleControl && body.readUInt16BE(4) === 4;
      const errors = () => [frame(MESSAGE.error, first, "0002 0009"), frame(MESSAGE.error, xid, "0011 000d")];
      return isCommit ? Buffer.concat(errors()) : undefined;
    });
    await using connection = await OpenflowConnection.open(path, limits());
    await assert.rejects(connection.commit([flow(1)], limits()), {
      message: /^bad action \(OFPBAC_BAD_OUT_GROUP\): add/,
    });
  });

  it("discards a bundle of which a message cannot be encoded", async () => {
    const seen: Frame[] = [];
    const path = await serve(message => void seen.push(message));
    await using connection = await OpenflowConnection.open(path, limits());
    await assert.rejects(connection.commit([flow(1), flow(-1)], limits()), { message: /^reg0 is -1: must be/ });
    await connection.barrier(limits());
    assert.deepEqual(bundleCommands(seen), [0, 6]);
  });

  it("rejects a call at its deadline and when it is aborted", async () => {
    const path = await serve(({ type }) => (type === MESSAGE.barrierRequest ? "nothing" : undefined));
    await using connection = await OpenflowConnection.open(path, limits());
    await assert.rejects(connection.barrier(limits(20)), { message: "waited 20 ms for the answer to barrier" });
    const abort = new AbortController();
    const call = connection.barrier(limits(60_000, abort.signal));
    abort.abort(new Error("the agent stops"));
    await assert.rejects(call, { message: "the agent stops" });
    await assert.rejects(connection.echo(limits(60_000, abort.signal)), { message: "the agent stops" });
    await connection.echo(limits());
  });

  it("rejects pending and later calls when the switch closes the connection", async () => {
    const path = await serve(({ type }, socket) => {
      if (type === MESSAGE.barrierRequest) socket.end();
      return type === MESSAGE.barrierRequest ? "nothing" : undefined;
    });
    await using connection = await OpenflowConnection.open(path, limits());
    const lost = { message: "OVS closed the OpenFlow connection" };
    const calls = await Promise.allSettled([connection.barrier(limits()), connection.commit([flow(1)], limits())]);
    assert.deepEqual(
      calls.map(({ status }) => status),
      ["rejected", "rejected"],
    );
    assert.match((await connection.closed).message, /closed the OpenFlow connection/);
    await assert.rejects(connection.echo(limits()), lost);
    await assert.rejects(connection.commit([], limits()), lost);
  });

  it("ends at damaged bytes and says what was wrong", async () => {
    const damaged: [bytes: (xid: number) => Buffer, message: RegExp][] = [
      [xid => frame(MESSAGE.bundleControl, xid, "00"), /^message of type 33: 4 bytes expected, 1 left$/],
      [xid => frame(MESSAGE.echoReply, xid), /^echoReply answers a request for barrierReply$/],
      [xid => frame(MESSAGE.barrierReply, xid, "", 5), /^a message has version 5, 6 was agreed on$/],
      [() => Buffer.from("garbage!"), /^a message has version 103, 5 \(OpenFlow 1.4\) or 6 \(1.5\) is expected$/],
    ];
    for (const [bytes, message] of damaged) {
      const path = await serve(({ type, xid }) => (type === MESSAGE.barrierRequest ? bytes(xid) : undefined));
      await using connection = await OpenflowConnection.open(path, limits());
      await assert.rejects(connection.barrier(limits()), { name: "OpenflowProtocolError", message });
      assert.match((await connection.closed).message, message);
    }
  });

  it("says that the stream ended inside a message", async () => {
    const path = await serve(({ type, xid }, socket) => {
      if (type !== MESSAGE.barrierRequest) return undefined;
      socket.end(frame(MESSAGE.echoReply, xid, "cafe").subarray(0, 9));
      return "nothing";
    });
    await using connection = await OpenflowConnection.open(path, limits());
    await assert.rejects(connection.barrier(limits()), {
      message: /^the stream ended inside a message, after 9 bytes/,
    });
  });

  it("falls back to OpenFlow 1.4", async () => {
    const versions = new Set<number>();
    const path = await serve(
      ({ version, type, xid }) => {
        if (type !== MESSAGE.hello) versions.add(version);
        return type === MESSAGE.barrierRequest ? frame(MESSAGE.barrierReply, xid, "", 5) : undefined;
      },
      frame(MESSAGE.hello, 1, "0001 0008 00000020", 5),
    );
    await using connection = await OpenflowConnection.open(path, limits());
    await connection.barrier(limits());
    assert.deepEqual([connection.version, [...versions]], [5, [5]]);
  });

  it("does not open without a common version, a hello or a switch", async () => {
    const quiet = () => "nothing" as const;
    const refused: [path: string, message: RegExp][] = [
      [
        await serve(quiet, frame(MESSAGE.hello, 1, "0001 0008 00000010", 4)),
        /speaks neither OpenFlow 1.5 nor 1.4: add/,
      ],
      [await serve(quiet, frame(MESSAGE.error, 1, "0000 0000 6e6f", 4)), /hello failed \(OFPHFC_INCOMPATIBLE\): no$/],
      [await serve(quiet, frame(MESSAGE.barrierReply, 1)), /the first message is barrierReply, not hello$/],
      [await serve(quiet, Buffer.alloc(0)), /waited 100 ms for the hello$/],
      [join(directory, "none"), /connect ENOENT/],
    ];
    for (const [path, message] of refused)
      await assert.rejects(OpenflowConnection.open(path, limits(100)), error => {
        assert.match((error as Error).message, message);
        assert.ok((error as Error).message.startsWith(`OpenFlow at ${path}: `));
        return true;
      });
  });
});
