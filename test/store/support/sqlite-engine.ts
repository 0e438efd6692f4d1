import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import { restoreDatabase } from "../../../ipam-server/storage/sqlite/transfer/restore-database.ts";
import type { Engine, TestDatabase } from "../suite/engine.ts";
import { PlainDatabase } from "./plain-database.ts";

export const sqliteEngine: Engine = {
  name: "SQLite",
  steps: ["deleted", "updated", "held", "counted", "events", "commit"],
  async createDatabase(): Promise<TestDatabase> {
    const directory = await mkdtemp(join(tmpdir(), "mooring-store-"));
    let generation = 0;
    let failing: string | undefined;
    let last: Store | undefined;
    const path = () => join(directory, `ipam-${generation}.db`);
    return {
      async open(options) {
        last = await openSqliteStore({
          ...options,
          path: path(),
          failpoint(step) {
            if (step !== failing) return;
            failing = undefined;
            throw new Error(`injected failure at ${step}`);
          },
        });
        return last;
      },
      failAt(step) {
        failing = step;
      },
      async execute(sql) {
        using plain = new PlainDatabase(path());
        plain.database.exec(sql);
      },
      async backUp() {
        const backup = join(directory, "backup.db");
        await cp(path(), backup);
        return async now => void (await restoreDatabase({ backup, path: path(), force: true, now }));
      },
      async crash() {
        // The files as they lie there, log included: no close, no checkpoint. The lock goes with the old process.
        const [from, to] = [path(), join(directory, `ipam-${generation + 1}.db`)];
        await cp(from, to);
        await cp(`${from}-wal`, `${to}-wal`).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== "ENOENT") throw error;
        });
        await last?.[Symbol.asyncDispose]();
        await rm(from);
        generation++;
      },
      async [Symbol.asyncDispose]() {
        await rm(directory, { recursive: true, force: true });
      },
    };
  },
};
