import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { forwardCall } from "../../../cni/launcher/forward-call.ts";
import { type Binding, openRawPipe } from "../../../cni/launcher/raw-pipe.ts";
import { Harness } from "./harness.ts";

const CALL = { env: { CNI_COMMAND: "ADD", CNI_IFNAME: "eth0", HOME: "/root" }, stdin: '{"name":"ü"}' };

/** An agent that answers each connection by `answer`, and tells what it was sent. */
async function serveAgent(path: string, answer: (socket: Socket, line: string) => void): Promise<AsyncDisposable> {
  const server = createServer(socket => {
    let line = "";
    socket.setEncoding("utf8");
    socket.on("error", () => {});
    socket.on("data", (chunk: string) => {
      line += chunk;
      if (line.endsWith("\n")) answer(socket, line);
    });
  });
  await new Promise<void>(resolve => server.listen(path, resolve));
  return { [Symbol.asyncDispose]: () => new Promise(resolve => void server.close(() => resolve())) };
}

const raw = openRawPipe("binding" in process ? (process.binding as Binding) : undefined);
for (const [via, pipe] of [
  ["by node:net", {}],
  ["by the raw handle", raw === undefined ? {} : { pipe: raw }],
] as const) {
  test(`${via}: the call goes to the agent as it came, with CNI's variables and no others, and its answer comes back`, async () => {
    await using bench = await Harness.start();
    const path = join(bench.dir, "agent.sock");
    let received = "";
    await using _agent = await serveAgent(path, (socket, line) => {
      received = line;
      const bytes = Buffer.from(`${JSON.stringify({ stdout: '{"ü":1}', exitCode: 1 })}\n`);
      // A byte at a time, and the connection left to the caller to close.
      for (const byte of bytes) socket.write(Buffer.of(byte));
    });
    assert.deepEqual(await forwardCall(path, CALL, pipe), { stdout: '{"ü":1}', exitCode: 1 });
    assert.deepEqual(JSON.parse(received), {
      version: 1,
      env: { CNI_COMMAND: "ADD", CNI_IFNAME: "eth0" },
      stdin: CALL.stdin,
    });
  });

  for (const [what, answer] of [
    ["hangs up", undefined],
    ["answers half a line", '{"stdout":"","exitCode":0}'],
    ["answers what is not JSON", "ok\n"],
    ["answers another shape", '{"stdout":1,"exitCode":0}\n'],
    ["answers another exit code", '{"stdout":"","exitCode":7}\n'],
  ] as const) {
    test(`${via}: an agent that ${what} is as good as none`, async () => {
      await using bench = await Harness.start();
      const path = join(bench.dir, "agent.sock");
      await using _agent = await serveAgent(path, socket => socket.end(answer ?? ""));
      assert.equal(await forwardCall(path, CALL, { ...pipe, retryForMs: 0 }), undefined);
    });
  }

  test(`${via}: no agent's socket, or a socket that nobody serves, is no agent`, async () => {
    await using bench = await Harness.start();
    assert.equal(await forwardCall(join(bench.dir, "none.sock"), CALL, { ...pipe, retryForMs: 0 }), undefined);
    assert.equal(await forwardCall(await bench.write("file", ""), CALL, { ...pipe, retryForMs: 0 }), undefined);
  });

  test(`${via}: an ADD waits for an agent that is being replaced, and a DEL does not`, async () => {
    await using bench = await Harness.start();
    const path = join(bench.dir, "agent.sock");
    const del = { ...CALL, env: { ...CALL.env, CNI_COMMAND: "DEL" } };
    assert.equal(await forwardCall(path, del, { ...pipe, retryForMs: 60_000 }), undefined);
    const waiting = forwardCall(path, CALL, { ...pipe, retryForMs: 60_000 });
    let calls = 0;
    await using _agent = await serveAgent(path, socket => {
      // The agent before hangs up on what it had not answered; the next one takes the call again.
      calls += 1;
      socket.end(calls === 1 ? "" : '{"stdout":"","exitCode":0}\n');
    });
    assert.deepEqual(await waiting, { stdout: "", exitCode: 0 });
    assert.equal(calls, 2);
  });

  test(`${via}: an agent of another version refuses: its words for an ADD, the local clean-up for a DEL`, async () => {
    await using bench = await Harness.start();
    const path = join(bench.dir, "agent.sock");
    await using _agent = await serveAgent(path, socket => {
      socket.end('{"stdout":"{}","exitCode":1,"isMismatch":true}\n');
    });
    assert.equal((await forwardCall(path, CALL, pipe))?.stdout, "{}");
    const del = { ...CALL, env: { ...CALL.env, CNI_COMMAND: "DEL" } };
    assert.equal(await forwardCall(path, del, pipe), undefined);
  });

  test(`${via}: long calls and answers go over whole, in characters of several bytes`, async () => {
    await using bench = await Harness.start();
    const path = join(bench.dir, "agent.sock");
    const long = "ü€".repeat(500_000);
    let received = "";
    await using _agent = await serveAgent(path, (socket, line) => {
      received = line;
      socket.end(`${JSON.stringify({ stdout: long, exitCode: 0 })}\n`);
    });
    assert.equal((await forwardCall(path, { ...CALL, stdin: long }, pipe))?.stdout, long);
    assert.equal(JSON.parse(received).stdin, long);
  });
}

test("the handle is as expected in this runtime, and what is not as expected is not used", () => {
  assert.ok(raw);
  assert.equal(openRawPipe(undefined), undefined);
  assert.equal(
    openRawPipe(() => ({})),
    undefined,
  );
  assert.equal(
    openRawPipe(() => {
      throw new Error("no such module");
    }),
    undefined,
  );
});

const AGENT = { ipamServer: undefined, host: undefined, cluster: undefined, agentSocket: "/run/mooring/none.sock" };

test("with the agent away ADD, CHECK and STATUS name its socket, as try again or not available", async () => {
  await using bench = await Harness.start();
  const msg = "the agent at /run/mooring/none.sock does not answer: check that it runs on this node";
  for (const [verb, code] of [
    ["ADD", 11],
    ["CHECK", 11],
    ["STATUS", 50],
  ] as const) {
    const error = await bench.fail(verb, { ...AGENT, prevResult: {} });
    assert.deepEqual([error.code, error.msg], [code, msg]);
  }
  assert.deepEqual(bench.node.calls, []);
});

test("with the agent away DEL cleans the node, journals its release for the agent to sign, and succeeds", async () => {
  await using bench = await Harness.start();
  await bench.succeed("ADD");
  await bench.succeed("DEL", AGENT);
  assert.equal(bench.node.plugged.size, 0);
  const [name = ""] = await bench.journaled();
  const entry = JSON.parse(await readFile(join(bench.journalDir, "moored", name), "utf8"));
  assert.deepEqual(entry, {
    version: 1,
    kind: "release",
    release: { sandbox: { id: "sandbox-1", interface: "eth0" } },
  });
});
