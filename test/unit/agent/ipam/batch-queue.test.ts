import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BatchQueue } from "../../../../cni/agent/ipam/batch-queue.ts";

/** A queue whose requests are answered by hand. */
function open(options: { maxItems?: number; holdMs?: number } = {}) {
  const requests: { items: number[]; answer: (results?: number[]) => void; fail: (error: Error) => void }[] = [];
  let noteRequest = () => {};
  const queue = new BatchQueue<number, number>({
    maxItems: 100,
    holdMs: 60_000,
    ...options,
    send(items) {
      const { promise, resolve, reject } = Promise.withResolvers<number[]>();
      requests.push({ items, answer: (results = items.map(item => -item)) => resolve(results), fail: reject });
      noteRequest();
      return promise;
    },
  });
  const request = async (index: number) => {
    while (requests.length <= index) {
      await new Promise<void>(resolve => {
        noteRequest = resolve;
      });
    }
    return requests[index] as (typeof requests)[number];
  };
  return { queue, requests, request };
}

describe("BatchQueue", () => {
  it("sends concurrent items as one request, and resolves each with its result", async () => {
    const { queue, requests, request } = open();
    const results = Promise.all([1, 2, 3].map(item => queue.push(item)));
    (await request(0)).answer();
    assert.deepEqual(await results, [-1, -2, -3]);
    assert.equal(requests.length, 1);
  });

  it("sends items that arrive during a request with the next one", async () => {
    const { queue, requests, request } = open();
    const first = queue.push(1);
    const under = await request(0);
    const rest = [queue.push(2), queue.push(3)];
    await new Promise(resolve => setImmediate(resolve));
    assert.equal(requests.length, 1);
    under.answer();
    await first;
    const next = await request(1);
    assert.deepEqual(next.items, [2, 3]);
    next.answer();
    await Promise.all(rest);
  });

  it("starts the next request when the last one is slow", async () => {
    const { queue, request } = open({ holdMs: 1 });
    const slow = queue.push(1);
    const first = await request(0);
    const quick = queue.push(2);
    (await request(1)).answer();
    assert.equal(await quick, -2);
    first.answer();
    assert.equal(await slow, -1);
  });

  it("never sends a request above the limit", async () => {
    const { queue, request } = open({ maxItems: 2 });
    const all = Promise.all([1, 2, 3].map(item => queue.push(item)));
    const first = await request(0);
    assert.deepEqual(first.items, [1, 2]);
    first.answer();
    (await request(1)).answer();
    assert.deepEqual(await all, [-1, -2, -3]);
  });

  it("rejects only the items of the failed request", async () => {
    const { queue, request } = open();
    const failing = queue.push(1);
    const under = await request(0);
    const next = queue.push(2);
    under.fail(new Error("gone"));
    await assert.rejects(failing, /gone/);
    (await request(1)).answer();
    assert.equal(await next, -2);
  });
});
