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
    let turns = 0;
    store.collectExpired = async () => {
      turns++;
      if (turns === 1) throw new Error("the disk is full");
      if (turns === 3) third.resolve();
      return turns === 2 ? 4 : 0;
    };
    const over = new AbortController();
    const housekeeping = runMaintenance(store, log, over.signal, 1);
    await third.promise;
    over.abort();
    await housekeeping;
    const after = turns;
    assert.match(lines[0] ?? "", /the disk is full.*maintenance failed, retrying/);
    assert.match(lines[1] ?? "", /"collected":4/);
    await new Promise(resolve => setImmediate(resolve));
    assert.equal(turns, after);
  });

  it("whatever is due goes in one turn, a piece at a time", async () => {
    const store = new MemoryStore();
    const done = Promise.withResolvers<void>();
    const pieces = [500, 500, 17, 0];
    store.collectExpired = async () => {
      const piece = pieces.shift() ?? 0;
      if (piece === 0) done.resolve();
      return piece;
    };
    const lines: string[] = [];
    const over = new AbortController();
    const housekeeping = runMaintenance(store, pino({}, { write: line => lines.push(line) }), over.signal, 1);
    await done.promise;
    over.abort();
    await housekeeping;
    assert.match(lines[0] ?? "", /"collected":1017/);
  });
});
