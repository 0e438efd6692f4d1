import { after, before } from "node:test";
import { postgresEngine } from "./postgres-engine.ts";
import { PrivatePostgres } from "./private-postgres.ts";
import { testTransfer } from "./suite-transfer.ts";

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

testTransfer(postgresEngine(() => server));
