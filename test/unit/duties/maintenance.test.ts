import assert from "node:assert/strict";
import { describe, it } from "node:test";
import pino from "pino";
import { runMaintenance } from "../../../ipam-server/duties/maintenance.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";

describe("runMaintenance", () => {
  it("logs a failed pass, retries, and finishes the running pass when stopped", async () => {
    const lines: string[] = [];
    const log = pino({}, { write: line => lines.push(line) });
    const store = new MemoryStore();
    const third = Promise.withResolvers<void>();
    let passes = 0;
    store.collectExpired = async () => {
      passes++;
      if (passes === 1) throw new Error("the disk is full");
      if (passes === 3) third.resolve();
      return passes === 2 ? 4 : 0;
    };
    const over = new AbortController();
    const maintenance = runMaintenance(store, log, over.signal, 1);
    await third.promise;
    over.abort();
    await maintenance;
    const after = passes;
    assert.match(lines[0] ?? "", /the disk is full.*maintenance failed, retrying/);
    assert.match(lines[1] ?? "", /"collected":4/);
    await new Promise(resolve => setImmediate(resolve));
    assert.equal(passes, after);
  });

  it("collects all due rows in one pass, in batches", async () => {
    const store = new MemoryStore();
    const done = Promise.withResolvers<void>();
    const batchs = [500, 500, 17, 0];
    store.collectExpired = async () => {
      const batch = batchs.shift() ?? 0;
      if (batch === 0) done.resolve();
      return batch;
    };
    const lines: string[] = [];
    const over = new AbortController();
    const maintenance = runMaintenance(store, pino({}, { write: line => lines.push(line) }), over.signal, 1);
    await done.promise;
    over.abort();
    await maintenance;
    assert.match(lines[0] ?? "", /"collected":1017/);
  });
});
