import { syncBuiltinESMExports } from "node:module";
import type { TestContext } from "node:test";

/** Replaces `setTimeout`, also that of node:timers/promises, until the test ends; returns what lets its time pass. */
export function fakeTime(t: TestContext): (ms: number) => Promise<void> {
  const { timers } = t.mock;
  timers.enable({ apis: ["setTimeout"] });
  // Named imports follow the mock, and afterwards the real timers.
  syncBuiltinESMExports();
  t.after(() => {
    timers.reset();
    syncBuiltinESMExports();
  });
  // What is under test runs in a few iterations of the event loop before it waits again.
  const settle = async () => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  };
  return async ms => {
    await settle();
    timers.tick(ms);
    await settle();
  };
}
