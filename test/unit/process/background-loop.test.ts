import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BackgroundLoop, withJitter } from "../../../ipam-server/process/background-loop.ts";

const LONG_MS = 60_000;

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited++) {
    assert.ok(waited < 2000, "the condition did not come true in time");
    await sleep(1);
  }
}

describe("BackgroundLoop", () => {
  it("runs the first pass after its constructor has returned, then repeats", async () => {
    let passes = 0;
    const pass = async () => {
      passes++;
      return 1;
    };
    await using loop = new BackgroundLoop({ pass });
    assert.equal(passes, 0);
    await until(() => passes >= 3);
    assert.ok(!loop.signal.aborted);
  });

  it("starts the next pass early when woken", async () => {
    let passes = 0;
    const pass = async () => {
      passes++;
      return LONG_MS;
    };
    await using loop = new BackgroundLoop({ pass });
    await until(() => passes === 1);
    loop.wake();
    loop.wake();
    await until(() => passes === 2);
    await sleep(10);
    assert.equal(passes, 2);
  });

  it("runs another pass when woken during one, without overlap", async () => {
    const gate = Promise.withResolvers<void>();
    let passes = 0;
    let running = 0;
    await using loop = new BackgroundLoop({
      async pass() {
        assert.equal(++running, 1);
        if (++passes === 1) await gate.promise;
        running--;
        return LONG_MS;
      },
    });
    await until(() => passes === 1);
    loop.wake();
    gate.resolve();
    await until(() => passes === 2);
  });

  it("aborts the pass's signal on disposal and waits for its end", async () => {
    const events: string[] = [];
    const loop = new BackgroundLoop({
      async pass(signal) {
        await new Promise(resolve => signal.addEventListener("abort", resolve));
        await sleep(5);
        events.push("pass ended");
        return LONG_MS;
      },
    });
    await sleep(1);
    await loop[Symbol.asyncDispose]();
    events.push("disposed");
    assert.deepEqual(events, ["pass ended", "disposed"]);
  });

  it("ends when the caller's signal aborts, also during a pause", async () => {
    const stop = new AbortController();
    let passes = 0;
    const pass = async () => {
      passes++;
      return LONG_MS;
    };
    const loop = new BackgroundLoop({ signal: stop.signal, pass });
    await until(() => passes === 1);
    stop.abort();
    await loop.ended;
    assert.equal(passes, 1);
  });

  it("runs no pass when the signal has aborted before the first", async () => {
    const pass = () => assert.fail("a pass ran");
    await new BackgroundLoop({ signal: AbortSignal.abort(), pass }).ended;
    await new BackgroundLoop({ initialDelayMs: LONG_MS, pass })[Symbol.asyncDispose]();
  });

  it("ends after a pass that resolves with undefined", async () => {
    let passes = 0;
    const pass = async () => (++passes < 3 ? 1 : undefined);
    await new BackgroundLoop({ pass }).ended;
    assert.equal(passes, 3);
  });

  it("reports a pass that rejects through ended", async () => {
    const loop = new BackgroundLoop({ pass: () => Promise.reject(new Error("broken")) });
    await assert.rejects(loop.ended, /broken/);
  });
});

describe("withJitter", () => {
  it("keeps within the share around the time", () => {
    for (let index = 0; index < 1000; index++) {
      const ms = withJitter(100, 0.5);
      assert.ok(ms >= 75 && ms <= 125, String(ms));
    }
    assert.equal(withJitter(100, 0), 100);
  });
});
