import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { Deadline } from "../../../cni/datapath/deadline.ts";
import { OvsdbClient, parseRemote, TransactionError } from "../../../cni/datapath/ovsdb/client.ts";
import { encodeJson, type JsonObject, OvsdbDecoder } from "../../../cni/datapath/ovsdb/codec.ts";

const directory = mkdtempSync(join(tmpdir(), "mooring-ovsdb-"));
let servers = 0;

/** An OVSDB server of which the test writes every answer. */
async function serve(
  answer: (message: JsonObject, socket: Socket) => unknown,
): Promise<{ server: Server; remote: string }> {
  const path = join(directory, `${++servers}`);
  const server = createServer(socket => {
    const decoder = new OvsdbDecoder();
    socket.on("error", () => undefined);
    socket.on("data", chunk => {
      for (const message of decoder.push(chunk)) {
        const result = answer(message, socket);
        if (result !== undefined) socket.write(encodeJson({ id: message.id, error: null, result }));
      }
    });
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  return { server, remote: `unix:${path}` };
}

describe("OvsdbClient", () => {
  const stack = new DisposableStack();
  const open = (remote: string) => stack.use(new OvsdbClient(remote));
  const soon = () => new Deadline(5_000);

  after(() => {
    stack.dispose();
    rmSync(directory, { recursive: true });
  });

  it("matches answers to requests by id, in any order", async () => {
    const held: (() => void)[] = [];
    const { server, remote } = await serve(({ id, params }, socket) => {
      held.unshift(() =>
        socket.write(encodeJson({ id, error: null, result: [{ count: (params as { n: number }[])[1]?.n }] })),
      );
      if (held.length === 3) for (const send of held) send();
    });
    const client = open(remote);
    const counts = [1, 2, 3].map(n => client.transact([{ op: "test", n }], soon()).then(([result]) => result?.count));
    assert.deepEqual(await Promise.all(counts), [1, 2, 3]);
    server.close();
  });

  it("answers the server's echo, which keeps the connection alive", async () => {
    const echoed = Promise.withResolvers<JsonObject>();
    const { server, remote } = await serve((message, socket) => {
      if (message.method === "transact") {
        socket.write(encodeJson({ id: "probe", method: "echo", params: ["are", "you", "there"] }));
        return [];
      }
      echoed.resolve(message);
      return undefined;
    });
    await open(remote).transact([], soon());
    assert.deepEqual(await echoed.promise, { id: "probe", result: ["are", "you", "there"], error: null });
    server.close();
  });

  it("throws a TransactionError that names the failed operation", async () => {
    const { server, remote } = await serve(() => [{}, { error: "constraint violation", details: "no such" }, null]);
    await assert.rejects(open(remote).transact([], soon()), (error: unknown) => {
      assert.ok(error instanceof TransactionError);
      assert.deepEqual([error.operation, error.message], [1, "constraint violation: no such"]);
      return true;
    });
    server.close();
  });

  it("reports a rejected request with the server's message", async () => {
    const { server, remote } = await serve(({ id }, socket) => {
      socket.write(encodeJson({ id, result: null, error: { error: "unknown database", details: "no Open_vSwitch" } }));
    });
    const failure = { name: "DatapathError", step: "ovs", message: /unknown database: no Open_vSwitch$/ };
    await assert.rejects(open(remote).transact([], soon()), failure);
    server.close();
  });

  it("fails pending requests when the connection is lost, then reconnects", async () => {
    let sessions = 0;
    const { server, remote } = await serve((_, socket) => {
      if (++sessions > 1) return [];
      socket.destroy();
      return undefined;
    });
    const client = open(remote);
    const failures = await Promise.allSettled([client.transact([], soon()), client.transact([], soon())]);
    assert.deepEqual(
      failures.map(({ status }) => status),
      ["rejected", "rejected"],
    );
    assert.deepEqual(await client.transact([], soon()), []);
    server.close();
  });

  it("closes a connection on damaged bytes and says what was wrong", async () => {
    const { server, remote } = await serve((_, socket) => void socket.write('{"id":1,"result":}'));
    const failure = { step: "ovs", message: /a message is not JSON: \{"id":1,"result":\}/ };
    await assert.rejects(open(remote).transact([], soon()), failure);
    server.close();
  });

  it("follows a row through the monitor's first answer and its updates", async () => {
    const { server, remote } = await serve(({ method, params }, socket) => {
      const [, monitor] = params as unknown[];
      const update = (row: unknown) =>
        encodeJson({ id: null, method: "update2", params: [monitor, { Interface: { u1: row } }] });
      if (method !== "monitor_cond") return {};
      setImmediate(() => {
        socket.write(update({ insert: { name: "moor" } }));
        socket.write(update({ modify: { ofport: 7 } }));
      });
      return {};
    });
    const ofport = await open(remote).waitForRow(
      { table: "Interface", columns: ["ofport"], where: [] },
      row => row.ofport as number | undefined,
      async () => undefined,
      soon(),
      () => new Error("late"),
    );
    assert.equal(ofport, 7);
    server.close();
  });

  it("fails a wait when the connection is lost", async () => {
    const { server, remote } = await serve((_, socket) => {
      setImmediate(() => socket.destroy());
      return {};
    });
    const wait = open(remote).waitForRow(
      { table: "Interface", columns: ["ofport"], where: [] },
      () => undefined,
      async () => undefined,
      soon(),
      () => new Error("late"),
    );
    await assert.rejects(wait, { step: "ovs", message: /closed the connection/ });
    server.close();
  });
});

describe("the OVSDB remote", () => {
  it("is a socket path or a TCP address", () => {
    assert.deepEqual(parseRemote("unix:/run/openvswitch/db.sock"), { path: "/run/openvswitch/db.sock" });
    assert.deepEqual(parseRemote("tcp:127.0.0.1:6640"), { host: "127.0.0.1", port: 6640 });
    assert.deepEqual(parseRemote("tcp:[::1]:6640"), { host: "::1", port: 6640 });
    for (const bad of ["", "unix:db.sock", "/run/db.sock", "tcp:127.0.0.1", "ssl:h:1", "tcp:::1:6640"]) {
      assert.throws(() => parseRemote(bad), { step: "ovs", message: /must be unix:\/PATH or tcp:HOST:PORT/ }, bad);
    }
  });
});
