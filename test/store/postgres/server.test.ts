import { after } from "node:test";
import { useDatabases } from "../../server/server-process.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

/** The server's own tests, every server of theirs on a PostgreSQL database. */
const server = await PrivatePostgres.start();
after(() => server[Symbol.asyncDispose]());
useDatabases(() => server.createDatabase());

await import("../../server/api/api.test.ts");
await import("../../server/api/bad-requests.test.ts");
await import("../../server/api/events.test.ts");
await import("../../server/lifecycle/crash.test.ts");
await import("../../server/lifecycle/stopping.test.ts");
await import("../../server/ctl.test.ts");
await import("../../server/api/overload.test.ts");
