import type { Store } from "../../../ipam-server/domain/store.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import { finishRestoration } from "../../../ipam-server/storage/postgres/transfer/restore-database.ts";
import type { Engine, TestDatabase } from "../suite/engine.ts";
import type { PrivatePostgres } from "./private-postgres.ts";

/** What a cut connection looks like; the store asks again, and its caller does not notice. */
const CUT = ["cut before", "cut after"];

/** @param serverOf the server, once it runs */
export function postgresEngine(serverOf: () => PrivatePostgres): Engine {
  return {
    name: "PostgreSQL",
    steps: ["deleted", "updated", "held", "counted", "events", "commit", ...CUT],
    async createDatabase(): Promise<TestDatabase> {
      const server = serverOf();
      const url = await server.createDatabase();
      let failing: string | undefined;
      let last: Store | undefined;
      const lose = () => Object.assign(new Error("the connection was cut"), { code: "ECONNRESET" });
      return {
        async open(options) {
          last = await openPostgresStore({
            ...options,
            url,
            readers: 2,
            failpoint(step) {
              if (failing === "cut before" && step === "commit") {
                failing = undefined;
                throw lose();
              }
              if (failing === "cut after" && step === "answer") {
                failing = undefined;
                throw lose();
              }
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
          await server.query(sql, url);
        },
        async backUp() {
          const backup = await server.copyDatabase(url);
          return async now => {
            await server.replaceDatabase(url, backup);
            await finishRestoration(url, now);
          };
        },
        async crash() {
          await server.terminate(url);
          await last?.[Symbol.asyncDispose]();
        },
        async [Symbol.asyncDispose]() {
          await last?.[Symbol.asyncDispose]();
          await server.dropDatabase(url);
        },
      };
    },
  };
}
