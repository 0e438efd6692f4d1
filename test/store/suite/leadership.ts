import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Term } from "../../../ipam-server/domain/model/leadership.ts";
import type { Engine } from "./engine.ts";

export function testLeadership(engine: Engine): void {
  describe(`${engine.name}: leadership`, () => {
    it("ends a term on disposal, and numbers the next one higher", async () => {
      await using database = await engine.createDatabase();
      let before: Term | undefined;
      for (const now of [1_000_000, 999_000, 999_000]) {
        await using store = await database.open({ reuseDelayMs: 0, clock: () => now });
        const begun = Promise.withResolvers<Term>();
        await using _ = store.lead(async term => begun.resolve(term));
        const term = await begun.promise;
        assert.ok(before === undefined || (before.signal.aborted && term.number > before.number));
        before = term;
      }
    });
  });
}
