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
    const { promise: gone, resolve: hearGone } = Promise.withResolvers<string>();
    await using _ = await SocketServer.start({
      path,
      async answer(_call, callerGone) {
        take();
        callerGone.addEventListener("abort", () => hearGone(String(callerGone.reason)), { once: true });
        await gone;
        return { stdout: "", exitCode: 1 };
      },
    });
    try {
      const caller = connect(path, () => caller.write(LINE));
      await taken;
      const late = setTimeout(() => hearGone("nothing was heard within 10 s"), 10_000);
      // As the kernel does it for a process that ended.
      caller.destroy();
      assert.match(await gone, /hung up/);
      clearTimeout(late);
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });
});
