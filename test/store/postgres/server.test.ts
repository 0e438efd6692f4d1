import { after } from "node:test";
import { useDatabases } from "../../server/server-process.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

/** The server's own tests, every server of theirs on a PostgreSQL database. */
const server = await PrivatePostgres.start();
after(() => server[Symbol.asyncDispose]());
useDatabases(() => server.createDatabase());

await import("../../server/api.test.ts");
await import("../../server/bad-requests.test.ts");
await import("../../server/events.test.ts");
await import("../../server/crash.test.ts");
await import("../../server/stopping.test.ts");
await import("../../server/ctl.test.ts");
await import("../../server/overload.test.ts");
