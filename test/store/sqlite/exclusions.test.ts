import assert from "node:assert/strict";
import { describe, it } from "node:test";
import Database from "better-sqlite3";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { withStore } from "../suite/with-store.ts";
import { attach, claim, EVERY_OTHER, network } from "../support/builders.ts";
import { sqliteEngine } from "../support/sqlite-engine.ts";

/** The methods that run a statement. */
const RUN = ["run", "get", "all"] as const;

/** How many statements the work runs. */
async function countStatements(work: () => Promise<unknown>): Promise<number> {
  using database = { connection: new Database(":memory:"), [Symbol.dispose]: () => database.connection.close() };
  const prototype = Object.getPrototypeOf(database.connection.prepare("SELECT 1"));
  const originals = RUN.map(name => [name, prototype[name]] as const);
  let count = 0;
  for (const [name, original] of originals) {
    prototype[name] = function (...values: unknown[]) {
      count++;
      return original.apply(this, values);
    };
  }
  try {
    await work();
  } finally {
    for (const [name, original] of originals) prototype[name] = original;
  }
  return count;
}

const declare = (exclude: string[]) => network("net", 10, [{ cidr: "10.0.0.0/16", exclude }]);

/** Statements of one claim, and of the same declaration again. */
async function measure(exclude: string[]): Promise<{ claims: number; again: number }> {
  let counts = { claims: 0, again: 0 };
  await withStore(sqliteEngine, [declare(exclude)], async (store: Store) => {
    const claims = await countStatements(() => attach(store, claim("web", "a", "s1")));
    counts = { claims, again: await countStatements(() => store.putNetwork(declare(exclude), "me")) };
  });
  return counts;
}

describe("SQLite with 4,096 exclusions", () => {
  it("runs as many statements for a claim, and for an unchanged network, as without", async () => {
    const without = await measure([]);
    assert.ok(without.claims > 0);
    assert.deepEqual(await measure(EVERY_OTHER), without);
  });
});
