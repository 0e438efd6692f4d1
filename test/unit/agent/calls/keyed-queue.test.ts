import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { KeyedQueue } from "../../../../cni/agent/calls/keyed-queue.ts";

describe("KeyedQueue", () => {
  it("runs work of one key in order and one at a time, also after failures", async () => {
    const queue = new KeyedQueue();
    const log: string[] = [];
    const work =
      (name: string, fails = false) =>
      async () => {
        log.push(`${name} begins`);
        await new Promise(resolve => setImmediate(resolve));
        log.push(`${name} ends`);
        if (fails) throw new Error(name);
        return name;
      };
    const outcomes = await Promise.allSettled([
      queue.run("s/eth0", work("add", true)),
      queue.run("s/eth0", work("del")),
      queue.run("s/eth0", work("add again")),
    ]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["rejected", "fulfilled", "fulfilled"],
    );
    assert.deepEqual(log, ["add begins", "add ends", "del begins", "del ends", "add again begins", "add again ends"]);
  });

  it("runs other keys concurrently, and drops keys that are done", async () => {
    const queue = new KeyedQueue();
    const { promise, resolve } = Promise.withResolvers<void>();
    const slow = queue.run("a", () => promise);
    assert.equal(await queue.run("b", async () => "done"), "done");
    assert.ok(queue.isBusy("a"));
    resolve();
    await slow;
    await queue.drained();
    assert.ok(!queue.isBusy("a"));
  });
});
