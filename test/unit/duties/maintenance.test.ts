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
    const maintenance = runMaintenance(store, log, over.signal, { intervalMs: 1 });
    await third.promise;
    over.abort();
    await maintenance;
    const after = passes;
    assert.match(lines[0] ?? "", /the disk is full.*maintenance failed, retrying/);
    assert.match(lines[1] ?? "", /"collected":4/);
    await new Promise(resolve => setImmediate(resolve));
    assert.equal(passes, after);
  });

  it("reports that the wall clock was set, and shifts what waits once", async () => {
    const store = new MemoryStore();
    const done = Promise.withResolvers<void>();
    const jumps: (number | undefined)[] = [];
    let wall = 0;
    store.collectExpired = async (jumpMs?: number) => {
      jumps.push(jumpMs);
      if (jumps.length === 2) wall -= 3_600_000;
      if (jumps.length === 3) wall += 1_000;
      if (jumps.length === 5) done.resolve();
      return 0;
    };
    const lines: string[] = [];
    const over = new AbortController();
    let reported = 0;
    const options = { intervalMs: 1, wallClock: () => wall, monotonicClock: () => 0, onClockJump: () => reported++ };
    const maintenance = runMaintenance(store, pino({}, { write: line => lines.push(line) }), over.signal, options);
    await done.promise;
    over.abort();
    await maintenance;
    assert.deepEqual(jumps.slice(0, 5), [0, undefined, -3_600_000, undefined, undefined]);
    assert.equal(reported, 1);
    assert.match(lines[0] ?? "", /"jumpMs":-3600000.*the wall clock jumped/);
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
    const maintenance = runMaintenance(store, pino({}, { write: line => lines.push(line) }), over.signal, {
      intervalMs: 1,
    });
    await done.promise;
    over.abort();
    await maintenance;
    assert.match(lines[0] ?? "", /"collected":1017/);
  });
});
