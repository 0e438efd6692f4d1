import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import type { MooringEvent } from "../../../ipam-server/contract/index.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";

const DEADLINE_MS = 60_000;

/** Collects the events that a replica's stream would deliver, in their order. */
export function follow(store: Store): { events: MooringEvent[]; until(seq: number): Promise<void> } {
  const events: MooringEvent[] = [];
  let newest = 0;
  let woken = Promise.withResolvers<void>();
  store.onEvents(lastSeq => {
    newest = lastSeq;
    woken.resolve();
  });
  const pump = async () => {
    for (const deadline = Date.now() + DEADLINE_MS; Date.now() < deadline; ) {
      const last = events.at(-1)?.seq ?? 0;
      if (last >= newest) {
        woken = Promise.withResolvers();
        await Promise.race([woken.promise, delay(50)]);
        if (stopAt !== undefined && (events.at(-1)?.seq ?? 0) >= stopAt) return;
        continue;
      }
      const page = await store.readEvents({ after: last, limit: 1000 });
      assert.ok(page.lastSeq >= (page.events.at(-1)?.seq ?? 0));
      events.push(...page.events);
    }
    throw new Error(`event ${stopAt} did not come; the last was ${events.at(-1)?.seq}`);
  };
  let stopAt: number | undefined;
  const running = pump();
  running.catch(() => {});
  return {
    events,
    until(seq) {
      stopAt = seq;
      return running;
    },
  };
}
