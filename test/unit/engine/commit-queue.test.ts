import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import { CommitQueue } from "../../../ipam-server/engine/commit-queue.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";

const release = (name: string): Mutation => ({
  kind: "release",
  release: { name, host: "a", ownerUid: "u" },
  caller: "t",
});
const report = (name: string): Mutation => ({
  kind: "report",
  report: { name, epoch: 1, plane: "underlay", state: "ACTIVE" },
  caller: "t",
});
const code = (expected: string) => (error: unknown) => error instanceof IpamError && error.code === expected;

describe("CommitQueue", () => {
  it("commits requests of one event-loop turn together, in order of arrival", async () => {
    const store = new MemoryStore();
    await using batcher = new CommitQueue(store, { maxQueue: 100 });
    const answers = await Promise.all([batcher.submit([release("a"), release("b")]), batcher.submit([release("c")])]);
    assert.deepEqual(
      store.batches.map(batch => batch.length),
      [3],
    );
    assert.deepEqual(
      answers.map(outcomes => outcomes.map(outcome => "name" in outcome && outcome.name)),
      [["a", "b"], ["c"]],
    );
  });

  it("batches requests that arrive during a commit into the next one", async () => {
    const store = new MemoryStore();
    const gate = Promise.withResolvers<void>();
    const entered = Promise.withResolvers<void>();
    const slow = {
      commit: (batch: readonly Mutation[]) => {
        entered.resolve();
        return gate.promise.then(() => store.commit(batch));
      },
    };
    await using batcher = new CommitQueue(slow, { maxQueue: 100 });
    const first = batcher.submit([release("a")]);
    await entered.promise;
    const later = ["b", "c", "d"].map(name => batcher.submit([release(name)]));
    gate.resolve();
    await Promise.all([first, ...later]);
    assert.deepEqual(
      store.batches.map(batch => batch.length),
      [1, 3],
    );
  });

  it("fails alone a request that meets a fault in the program", async () => {
    const store = new MemoryStore();
    const faulty = {
      commit: async (batch: readonly Mutation[]) => {
        if (batch.some(item => item.kind === "release" && item.release.name === "crafted"))
          throw new TypeError("fault");
        return store.commit(batch);
      },
    };
    await using batcher = new CommitQueue(faulty, { maxQueue: 100 });
    const names = ["a", "b", "crafted", "d", "e", "f"];
    const settled = await Promise.allSettled(names.map(name => batcher.submit([release(name)])));
    assert.deepEqual(
      names.filter((_, index) => settled[index]?.status === "rejected"),
      ["crafted"],
    );
    const committed = store.batches.flat().map(item => item.kind === "release" && item.release.name);
    assert.deepEqual(committed, ["a", "b", "d", "e", "f"]);
  });

  it("never splits a request over two commits", async () => {
    const store = new MemoryStore();
    await using batcher = new CommitQueue(store, { maxQueue: 100, batchSize: 2 });
    const big = Array.from({ length: 5 }, (_, i) => release(`big-${i}`));
    await Promise.all([batcher.submit([release("a")]), batcher.submit(big), batcher.submit([release("z")])]);
    assert.deepEqual(
      store.batches.map(batch => batch.length),
      [6, 1],
    );
  });

  it("commits claims and releases before reports, and some reports each time", async () => {
    const store = new MemoryStore();
    await using batcher = new CommitQueue(store, { maxQueue: 1000, batchSize: 10 });
    const work = [
      ...Array.from({ length: 4 }, (_, i) => batcher.submit([report(`r${i}`)])),
      ...Array.from({ length: 20 }, (_, i) => batcher.submit([release(`c${i}`)])),
    ];
    await Promise.all(work);
    const kinds = store.batches[0]?.map(({ kind }) => kind);
    assert.deepEqual(kinds, [...Array.from({ length: 10 }, () => "release"), "report"]);
  });

  it("rejects with a retry delay when full, and still serves the waiting requests", async () => {
    const store = new MemoryStore();
    await using batcher = new CommitQueue(store, { maxQueue: 2 });
    const waiting = batcher.submit([release("a"), release("b")]);
    await assert.rejects(
      batcher.submit([release("c")]),
      (error: unknown) => code("overloaded")(error) && IpamError.from(error).details.retryAfterSeconds === 1,
    );
    assert.equal((await waiting).length, 2);
    assert.equal(batcher.depth, 0);
  });

  it("accepts a request larger than the queue when nothing waits", async () => {
    await using batcher = new CommitQueue(new MemoryStore(), { maxQueue: 1 });
    assert.equal((await batcher.submit([release("a"), release("b")])).length, 2);
  });

  it("drops a request past its deadline before deciding it", async () => {
    const store = new MemoryStore();
    let now = 0;
    await using batcher = new CommitQueue(store, { maxQueue: 10, now: () => now });
    const late = assert.rejects(batcher.submit([release("late")], 50), code("unavailable"));
    const patient = batcher.submit([release("patient")], 500);
    now = 100;
    await Promise.all([late, patient]);
    assert.deepEqual(
      store.batches.flat().map(mutation => mutation.kind === "release" && mutation.release.name),
      ["patient"],
    );
  });

  it("rejects every request of a failed commit, and serves the next batch", async () => {
    const store = new MemoryStore();
    await using batcher = new CommitQueue(store, { maxQueue: 10 });
    store.failing = new IpamError("unavailable", "the disk is full");
    const both = [batcher.submit([release("a")]), batcher.submit([release("b")])];
    for (const each of both) await assert.rejects(each, code("unavailable"));
    store.failing = undefined;
    assert.equal((await batcher.submit([release("c")])).length, 1);
  });

  it("fails the batch when the store returns too few outcomes", async () => {
    await using batcher = new CommitQueue({ commit: async () => [] }, { maxQueue: 10 });
    await assert.rejects(batcher.submit([release("a")]), code("internal"));
  });

  it("on disposal finishes the running commit and rejects waiting and new requests", async () => {
    const store = new MemoryStore();
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    const batcher = new CommitQueue(store, { maxQueue: 10 });
    const running = batcher.submit([release("a")]);
    while (!store.entered) await new Promise(resolve => setImmediate(resolve));
    const waiting = assert.rejects(batcher.submit([release("b")]), code("unavailable"));
    const stopped = batcher[Symbol.asyncDispose]();
    await waiting;
    await assert.rejects(batcher.submit([release("c")]), code("unavailable"));
    gate.resolve();
    assert.equal((await running).length, 1);
    await stopped;
    assert.equal(store.batches.flat().length, 1);
  });

  it("on disposal does not wait forever for a commit that never ends", async () => {
    const store = new MemoryStore();
    store.gate = new Promise(() => {});
    const batcher = new CommitQueue(store, { maxQueue: 10 });
    void batcher.submit([release("a")]);
    while (!store.entered) await new Promise(resolve => setImmediate(resolve));
    await batcher[Symbol.asyncDispose]();
  });
});
