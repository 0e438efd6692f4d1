import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { EventQuery, MooringEvent } from "../../../ipam-server/contract/index.ts";
import { EventTail, matches } from "../../../ipam-server/engine/event-tail.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";

const seqs = ({ events }: { events: MooringEvent[] }) => events.map(({ seq }) => seq);

/** Counts the tail's reads of the store. */
function countReads(store: MemoryStore): () => number {
  let reads = 0;
  const read = store.readEvents.bind(store);
  store.readEvents = query => {
    reads++;
    return read(query);
  };
  return () => reads;
}

describe("EventTail", () => {
  it("reads the store once per commit for all streams that are up to date", async () => {
    const store = new MemoryStore();
    store.emit({});
    const reads = countReads(store);
    using tail = new EventTail(store);
    assert.deepEqual(seqs(await tail.read(1, {})), []);
    const before = reads();
    store.emit({ host: "a" });
    store.emit({ host: "b" });
    const [all, ofA, ofB] = await Promise.all([
      tail.read(1, {}),
      tail.read(1, { host: "a" }),
      tail.read(1, { host: "b" }),
    ]);
    assert.deepEqual([seqs(all), seqs(ofA), seqs(ofB)], [[2, 3], [2], [3]]);
    assert.equal(reads() - before, 1);
  });

  it("reads older events from the store when a stream starts before the tail", async () => {
    const store = new MemoryStore();
    for (let i = 0; i < 2500; i++) store.emit({});
    using tail = new EventTail(store);
    const read: number[] = [];
    for (let after = 0; read.length < 2500; ) {
      const page = await tail.read(after, {});
      assert.ok(page.events.length <= 200, "a slow reader holds memory");
      read.push(...seqs(page));
      after = page.upTo;
    }
    assert.deepEqual(
      read,
      Array.from({ length: 2500 }, (_, i) => i + 1),
    );
  });

  it("reports a gap only if events after the cursor were pruned", async () => {
    const store = new MemoryStore();
    for (let i = 0; i < 10; i++) store.emit({ host: "a" });
    store.events.splice(0, 4);
    using tail = new EventTail(store);
    assert.equal((await tail.read(3, { host: "none" })).gapUpTo, 4);
    assert.equal((await tail.read(4, {})).gapUpTo, undefined);
    assert.equal((await tail.read(10, {})).gapUpTo, undefined);
  });

  it("reports a gap when events were pruned while no stream was reading", async () => {
    const store = new MemoryStore();
    for (let i = 0; i < 10; i++) store.emit({});
    using tail = new EventTail(store);
    await tail.read(10, {});
    for (let i = 0; i < 20; i++) store.emit({});
    store.events.splice(0, 25);
    const read = await tail.read(12, {});
    assert.deepEqual([read.gapUpTo, seqs(read)], [25, [26, 27, 28, 29, 30]]);
    assert.equal((await tail.read(25, {})).gapUpTo, undefined);
  });

  it("does not stream events from before a restore after the gap", async () => {
    const store = new MemoryStore();
    for (let i = 0; i < 10; i++) store.emit({});
    // As after a restore: sequence numbers up to 8 were assigned before it.
    const read = store.readEvents.bind(store);
    store.readEvents = async (...query) => ({ ...(await read(...query)), oldestSeq: 9 });
    using tail = new EventTail(store);
    const page = await tail.read(3, {});
    assert.deepEqual([page.gapUpTo, seqs(page), page.upTo], [8, [9, 10], 10]);
  });

  it("scans in bounded pieces when a distant reader's events are rare", async () => {
    const store = new MemoryStore();
    const lastSeq = 1_000_000;
    const looks: number[] = [];
    store.readEvents = async ({ after = 0 }) => {
      looks.push(after);
      const nextAfter = after + 100_000;
      return { events: [], lastSeq, oldestSeq: 1, ...(nextAfter < lastSeq && { nextAfter }) };
    };
    using tail = new EventTail(store);
    await tail.read(lastSeq, {});
    looks.length = 0;
    const quiet = { host: "quiet" };
    const late = AbortSignal.timeout(20_000);
    let { upTo } = await tail.read(5, quiet);
    while (upTo < lastSeq) {
      assert.equal(await tail.wait(upTo, quiet, 60_000, late), upTo);
      ({ upTo } = await tail.read(upTo, quiet));
    }
    late.throwIfAborted();
    assert.deepEqual(
      looks,
      Array.from({ length: 10 }, (_, index) => 5 + index * 100_000),
    );
  });

  it("delivers every event to a stream that fell out of the tail's memory", async () => {
    const store = new MemoryStore();
    using tail = new EventTail(store);
    await tail.read(0, {});
    for (let i = 0; i < 12_000; i++) store.emit({});
    await tail.read(12_000, {});
    let after = 0;
    let count = 0;
    while (after < 12_000) {
      const page = await tail.read(after, {});
      for (const event of page.events) assert.equal(event.seq, ++count);
      after = page.upTo;
    }
    assert.equal(count, 12_000);
  });

  it("advances the cursor when the filter matches nothing", async () => {
    const store = new MemoryStore();
    using tail = new EventTail(store);
    await tail.read(0, {});
    store.emit({ host: "a" });
    assert.deepEqual(await tail.read(0, { host: "b" }), { events: [], upTo: 1 });
  });

  it("ends a wait with the next event, at its timeout and by its signal", async () => {
    const store = new MemoryStore();
    using tail = new EventTail(store);
    const stop = new AbortController();
    const byEvent = tail.wait(0, {}, 60_000, stop.signal);
    store.emit({});
    await byEvent;
    await tail.wait(1, {}, 1, stop.signal);
    const bySignal = tail.wait(1, {}, 60_000, stop.signal);
    stop.abort();
    await bySignal;
  });

  it("wakes only matching readers, and advances the others without waking them", async () => {
    const store = new MemoryStore();
    using tail = new EventTail(store);
    await tail.read(0, {});
    const stop = new AbortController();
    const woken: string[] = [];
    const wait = async (who: string, query: EventQuery) => {
      const upTo = await tail.wait(0, query, 60_000, stop.signal);
      woken.push(who);
      return upTo;
    };
    // The first wait of any reader loads the start of the tail.
    await tail.wait(0, {}, 1, stop.signal);
    const ofB = wait("b", { host: "b" });
    const ofC = wait("c", { host: "c" });
    const all = wait("all", {});
    const moved = wait("deletions", { type: ["port.deleted"] });
    store.emit({ host: "a", type: "port.bound" });
    await all;
    store.emit({ host: "c", fromHost: "b", type: "port.moved" });
    assert.deepEqual(await Promise.all([ofB, ofC]), [1, 1]);
    assert.deepEqual(woken, ["all", "c", "b"]);
    store.emit({ host: "a", type: "port.deleted" });
    assert.equal(await moved, 2);

    // A late wait returns at once if unread events match, else with the position to resume from.
    assert.equal(await tail.wait(1, { host: "b" }, 60_000, stop.signal), 1);
    assert.equal(await tail.wait(1, { host: "z" }, 1, stop.signal), 3);
  });

  it("matches a port.moved event for both the old host and the new one", () => {
    const event: MooringEvent = { seq: 1, time: "", type: "port.moved", caller: "t", host: "b", fromHost: "a" };
    assert.ok(matches({ host: "a" }, event));
    assert.ok(matches({ host: "b" }, event));
    assert.ok(!matches({ host: "c" }, event));
  });
});
