import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { run } from "../../scripts/lab/command.ts";
import { NODE, ROOT } from "../../scripts/lab/paths.ts";

describe("the demo", () => {
  it("passes its checks and leaves nothing", async () => {
    const { code, stdout, stderr } = await run([NODE, `${ROOT}scripts/demo.ts`], { timeoutMs: 120_000 });
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /the same address and MAC answer, \d+ ms after/);
    assert.match(stdout, /still bound to node-b \(epoch 2\), still answering/);
    assert.match(stdout, /All checks passed\./);
    const id = /network namespaces (\S+)-\*/.exec(stdout)?.[1];
    const { stdout: namespaces } = await run(["ip", "netns", "list"]);
    assert.ok(id !== undefined && !namespaces.includes(id), `namespaces of ${id} are left: ${namespaces}`);
  });

  it("keeps its lab with --keep until --stop removes it", async () => {
    const kept = await run([NODE, `${ROOT}scripts/demo.ts`, "--keep"], { timeoutMs: 120_000 });
    assert.equal(kept.code, 0, kept.stdout + kept.stderr);
    const ping = /ip netns exec \S+-legacy ping \S+/.exec(kept.stdout)?.[0];
    assert.ok(ping, kept.stdout);
    const answered = await run([...ping.split(" "), "-c", "1", "-w", "5"]);
    assert.equal(answered.code, 0, answered.stdout);

    const stopped = await run([NODE, `${ROOT}scripts/demo.ts`, "--stop"]);
    assert.match(stopped.stdout, /cleared away/);
    assert.notEqual((await run([...ping.split(" "), "-c", "1", "-w", "1"])).code, 0);
  });
});
