import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import { CommitQueue } from "../../../ipam-server/engine/commit-queue.ts";
import { ReadQueue } from "../../../ipam-server/engine/read-queue.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";

const PATIENT = { timeoutMs: Number.POSITIVE_INFINITY, isGone: () => false };
const RELEASE: Mutation = { kind: "release", release: { name: "a", host: "a", ownerUid: "u" }, caller: "t" };
const nextTurn = () => new Promise(resolve => setImmediate(resolve));

describe("ReadQueue", () => {
  it("lets a change commit after at most one read per slot, and reads in between", async () => {
    const reads = new ReadQueue({ concurrency: 2 });
    await using batcher = new CommitQueue(new MemoryStore(), { maxQueue: 10 });
    let begun = 0;
    const all = Promise.all(
      Array.from({ length: 200 }, () =>
        reads.run(async () => {
          begun++;
        }, PATIENT),
      ),
    );
    for (let change = 0; change < 20; change++) {
      const before = begun;
      await batcher.submit([RELEASE]);
      assert.ok(begun - before <= 6, `${begun - before} reads came before one change`);
      assert.ok(begun > change, "reads stand still");
    }
    await all;
  });

  it("rejects with a retry delay when full, and still serves the waiting reads", async () => {
    const reads = new ReadQueue({ concurrency: 1, maxWaiting: 2 });
    const served = [1, 2, 3].map(each => reads.run(async () => each, PATIENT));
    await assert.rejects(
      reads.run(async () => 4, PATIENT),
      (error: IpamError) => error.code === "overloaded" && error.details.retryAfterSeconds === 1,
    );
    assert.deepEqual(await Promise.all(served), [1, 2, 3]);
  });

  it("drops a read past its deadline, or whose caller is gone, before it starts", async () => {
    let now = 0;
    const reads = new ReadQueue({ concurrency: 1, now: () => now });
    const gate = Promise.withResolvers<void>();
    const first = reads.run(() => gate.promise, PATIENT);
    const begun: string[] = [];
    const begin = (name: string) => async () => void begun.push(name);
    const late = reads.run(begin("late"), { timeoutMs: 50, isGone: () => false });
    const gone = reads.run(begin("gone"), { ...PATIENT, isGone: () => true });
    const patient = reads.run(begin("patient"), { ...PATIENT, timeoutMs: 500 });
    now = 100;
    gate.resolve();
    for (const dropped of [late, gone]) await assert.rejects(dropped, { code: "unavailable" });
    await Promise.all([first, patient]);
    assert.deepEqual(begun, ["patient"]);
  });

  it("releases its slot to the next read when a read fails", async () => {
    const reads = new ReadQueue({ concurrency: 1 });
    await assert.rejects(
      reads.run(() => Promise.reject(new IpamError("not_found", "no")), PATIENT),
      { code: "not_found" },
    );
    await nextTurn();
    assert.equal(await reads.run(async () => 1, PATIENT), 1);
  });
});
