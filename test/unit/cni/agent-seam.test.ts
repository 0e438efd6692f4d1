import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, it } from "node:test";
import { forwardCall } from "../../../cni/launcher/forward-call.ts";
import { type Binding, openRawPipe } from "../../../cni/launcher/raw-pipe.ts";
import { Harness } from "./harness.ts";

const CALL = { env: { CNI_COMMAND: "ADD", CNI_IFNAME: "eth0", HOME: "/root" }, stdin: '{"name":"ü"}' };

/** An agent that answers each connection by `answer`, and records what it received. */
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
describe("the agent's socket", () => {
  for (const [via, pipe] of [
    ["by node:net", {}],
    ["by the raw handle", raw === undefined ? {} : { pipe: raw }],
  ] as const) {
    it(`${via}: forwards stdin and only CNI's variables, and returns the agent's answer`, async () => {
      await using harness = await Harness.start();
      const path = join(harness.dir, "agent.sock");
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
      it(`${via}: runs the call locally when an agent ${what}`, async () => {
        await using harness = await Harness.start();
        const path = join(harness.dir, "agent.sock");
        await using _agent = await serveAgent(path, socket => socket.end(answer ?? ""));
        assert.equal(await forwardCall(path, CALL, { ...pipe, retryForMs: 0 }), undefined);
      });
    }

    it(`${via}: runs the call locally when no agent listens`, async () => {
      await using harness = await Harness.start();
      assert.equal(await forwardCall(join(harness.dir, "none.sock"), CALL, { ...pipe, retryForMs: 0 }), undefined);
      assert.equal(await forwardCall(await harness.write("file", ""), CALL, { ...pipe, retryForMs: 0 }), undefined);
    });

    it(`${via}: retries an ADD, but no DEL, while the agent restarts`, async () => {
      await using harness = await Harness.start();
      const path = join(harness.dir, "agent.sock");
      const del = { ...CALL, env: { ...CALL.env, CNI_COMMAND: "DEL" } };
      assert.equal(await forwardCall(path, del, { ...pipe, retryForMs: 60_000 }), undefined);
      const waiting = forwardCall(path, CALL, { ...pipe, retryForMs: 60_000 });
      let calls = 0;
      await using _agent = await serveAgent(path, socket => {
        // The old agent closes unanswered connections; the next one receives the call again.
        calls += 1;
        socket.end(calls === 1 ? "" : '{"stdout":"","exitCode":0}\n');
      });
      assert.deepEqual(await waiting, { stdout: "", exitCode: 0 });
      assert.equal(calls, 2);
    });

    it(`${via}: returns a version mismatch for ADD, and runs DEL locally`, async () => {
      await using harness = await Harness.start();
      const path = join(harness.dir, "agent.sock");
      await using _agent = await serveAgent(path, socket => {
        socket.end('{"stdout":"{}","exitCode":1,"isMismatch":true}\n');
      });
      assert.equal((await forwardCall(path, CALL, pipe))?.stdout, "{}");
      const del = { ...CALL, env: { ...CALL.env, CNI_COMMAND: "DEL" } };
      assert.equal(await forwardCall(path, del, pipe), undefined);
    });

    it(`${via}: carries long calls and answers of multi-byte characters`, async () => {
      await using harness = await Harness.start();
      const path = join(harness.dir, "agent.sock");
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

  it("uses the raw handle only when it has the expected shape", () => {
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

  it("names the agent's socket in ADD and STATUS when the agent is down", async () => {
    await using harness = await Harness.start();
    const msg = "the agent at /run/mooring/none.sock does not answer: check that it runs on this node";
    for (const [verb, code] of [
      ["ADD", 11],
      ["STATUS", 50],
    ] as const) {
      const error = await harness.fail(verb, { ...AGENT, prevResult: {} });
      assert.deepEqual([error.code, error.msg], [code, msg]);
    }
    assert.deepEqual(harness.node.calls, []);
  });

  it("compares the node alone in CHECK when the agent is down", async () => {
    await using harness = await Harness.start();
    const prevResult = await harness.succeed("ADD");
    await harness.succeed("CHECK", { ...AGENT, prevResult });
    assert.deepEqual(harness.log, []);
    harness.node.differences = [{ what: "link eth0", expected: "up", found: "down" }];
    const { msg } = await harness.fail("CHECK", { ...AGENT, prevResult });
    assert.equal(msg, "c1/default/web-0: link eth0 should be up, is down");
  });

  it("cleans up, journals the release and succeeds in DEL when the agent is down", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD");
    await harness.succeed("DEL", AGENT);
    assert.equal(harness.node.plugged.size, 0);
    const [name = ""] = await harness.journaled();
    const entry = JSON.parse(await readFile(join(harness.journalDir, "moored", name), "utf8"));
    assert.deepEqual(entry, {
      version: 1,
      kind: "release",
      release: { sandbox: { id: "sandbox-1", interface: "eth0" }, unplugged: true },
    });
  });
});
