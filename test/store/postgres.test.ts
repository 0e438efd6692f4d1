import { after, before } from "node:test";
import { postgresEngine } from "./postgres-engine.ts";
import { PrivatePostgres } from "./private-postgres.ts";
import { testStore } from "./suite.ts";

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

testStore(postgresEngine(() => server));
