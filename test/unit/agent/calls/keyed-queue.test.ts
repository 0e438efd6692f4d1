import assert from "node:assert/strict";
import { test } from "node:test";
import { KeyedQueue } from "../../../../cni/agent/calls/keyed-queue.ts";

test("work under one key runs in order of arrival and never beside each other, whatever fails", async () => {
  const turns = new KeyedQueue();
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
    turns.run("s/eth0", work("add", true)),
    turns.run("s/eth0", work("del")),
    turns.run("s/eth0", work("add again")),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ["rejected", "fulfilled", "fulfilled"],
  );
  assert.deepEqual(log, ["add begins", "add ends", "del begins", "del ends", "add again begins", "add again ends"]);
});

test("work under other keys does not wait, and nothing is kept of keys that are done", async () => {
  const turns = new KeyedQueue();
  const { promise, resolve } = Promise.withResolvers<void>();
  const slow = turns.run("a", () => promise);
  assert.equal(await turns.run("b", async () => "done"), "done");
  assert.ok(turns.isTaken("a"));
  resolve();
  await slow;
  await turns.drained();
  assert.ok(!turns.isTaken("a"));
});
