import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { SocketServer } from "../../../../cni/agent/calls/socket-server.ts";
import { PROTOCOL_VERSION } from "../../../../cni/launcher/protocol.ts";

const LINE = `${JSON.stringify({ version: PROTOCOL_VERSION, env: { CNI_COMMAND: "ADD" }, stdin: "{}" })}\n`;

describe("SocketServer", () => {
  it("aborts the call when its caller is killed", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mooring-socket-"));
    const path = join(dir, "agent.sock");
    const { promise: taken, resolve: take } = Promise.withResolvers<void>();
    const { promise: gone, resolve: onGone } = Promise.withResolvers<string>();
    await using _ = await SocketServer.start({
      path,
      async answer(_call, callerGone) {
        take();
        callerGone.addEventListener("abort", () => onGone(String(callerGone.reason)), { once: true });
        await gone;
        return { stdout: "", exitCode: 1 };
      },
    });
    try {
      const caller = connect(path, () => caller.write(LINE));
      await taken;
      const late = setTimeout(() => onGone("no abort within 10 s"), 10_000);
      // The kernel closes the sockets of a killed process the same way.
      caller.destroy();
      assert.match(await gone, /hung up/);
      clearTimeout(late);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
