import { after, before } from "node:test";
import { testStore } from "../suite/store-suite.ts";
import { postgresEngine } from "../support/postgres-engine.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

testStore(postgresEngine(() => server));
