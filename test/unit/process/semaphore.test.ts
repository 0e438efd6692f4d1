import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { inParallel } from "../../../ipam-server/process/in-parallel.ts";
import { Semaphore } from "../../../ipam-server/process/semaphore.ts";

describe("Semaphore", () => {
  it("runs at most its size at a time, in order of arrival", async () => {
    const semaphore = new Semaphore(2);
    const started: number[] = [];
    const ends = Array.from({ length: 4 }, () => Promise.withResolvers<void>());
    const runs = ends.map(({ promise }, index) =>
      semaphore.run(() => {
        started.push(index);
        return promise;
      }),
    );
    await setImmediate();
    assert.deepEqual([started, semaphore.waiting], [[0, 1], 2]);
    ends[1]?.resolve();
    await setImmediate();
    assert.deepEqual([started, semaphore.waiting], [[0, 1, 2], 1]);
    for (const { resolve } of ends) resolve();
    await Promise.all(runs);
    assert.deepEqual(started, [0, 1, 2, 3]);
  });

  it("releases its place when the work rejects", async () => {
    const semaphore = new Semaphore(1);
    await assert.rejects(
      semaphore.run(() => Promise.reject(new Error("broken"))),
      /broken/,
    );
    assert.equal(await semaphore.run(async () => 7), 7);
  });

  it("hands a released place to the oldest waiter, not to a later caller", async () => {
    const semaphore = new Semaphore(1);
    assert.ok(semaphore.tryAcquire());
    const waiter = semaphore.acquire();
    semaphore.release();
    assert.ok(!semaphore.tryAcquire());
    await waiter;
    semaphore.release();
    assert.ok(semaphore.tryAcquire());
  });
});

describe("inParallel", () => {
  it("never exceeds the limit and runs every item", async () => {
    let running = 0;
    let most = 0;
    const done: number[] = [];
    await inParallel(3, [1, 2, 3, 4, 5, 6, 7], async item => {
      most = Math.max(most, ++running);
      await setImmediate();
      running--;
      done.push(item);
    });
    assert.deepEqual([most, done], [3, [1, 2, 3, 4, 5, 6, 7]]);
  });

  it("rejects with the first failure after all items have run", async () => {
    const done: number[] = [];
    const work = async (item: number) => {
      if (item % 2 === 0) throw new Error(`item ${item}`);
      done.push(item);
    };
    await assert.rejects(inParallel(2, [1, 2, 3, 4, 5], work), /item 2/);
    assert.deepEqual(done, [1, 3, 5]);
  });
});
