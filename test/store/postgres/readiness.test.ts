import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmod, mkdir, rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import type { Problem } from "../../../ipam-server/contract/index.ts";
import { type Answer, Client, claimOf, networkOf } from "../../server/client.ts";
import { runServer, ServerProcess } from "../../server/server-process.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const DEADLINE_MS = 60_000;
const isRoot = process.getuid?.() === 0;

let postgres: PrivatePostgres;
before(async () => {
  postgres = await PrivatePostgres.start();
});
after(() => postgres[Symbol.asyncDispose]());

async function readinessOf(client: Client, status: number): Promise<Answer<Problem>> {
  for (const late = AbortSignal.timeout(DEADLINE_MS); ; await delay(50)) {
    const answer = await client.get<Problem>("/readyz");
    if (answer.status === status) return answer;
    late.throwIfAborted();
  }
}

async function serve(url: string): Promise<{ server: ServerProcess; client: Client }> {
  const server = await ServerProcess.start({ database: url });
  const client = new Client(server);
  await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/16"));
  return { server, client };
}

const nameOf = (url: string): string => `${new URL(url).pathname.slice(1)} on 127.0.0.1:${postgres.port}`;

describe("readiness on PostgreSQL", () => {
  it("names an unreachable database and the reason until it is reachable again", async () => {
    const url = await postgres.createDatabase();
    const { server, client } = await serve(url);
    await using _ = server;
    for (const how of ["fast", "immediate"] as const) {
      await postgres.down(how);
      const { body, headers } = await readinessOf(client, 503);
      assert.equal(headers.get("retry-after"), "1");
      assert.ok(body.detail.includes(nameOf(url)) && /nothing listens there/.test(body.detail), body.detail);
      assert.ok(!JSON.stringify([body, server.log]).includes(postgres.password), "the text shows the password");
      assert.equal((await client.get("/healthz")).status, 200);
      await postgres.up();
      await readinessOf(client, 200);
      await client.claim(claimOf(`web-${how}`));
    }
  });

  it("reports revoked rights until they are granted again", async () => {
    const url = await postgres.createDatabase();
    const database = new URL(url).pathname.slice(1);
    await postgres.query("CREATE ROLE ipam LOGIN PASSWORD 'ipam'");
    await postgres.query(`GRANT CREATE, USAGE ON SCHEMA public TO ipam`, url);
    const { server, client } = await serve(postgres.urlOf(database, "ipam", "ipam"));
    await using _ = server;
    await postgres.query("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ipam", url);
    const { body } = await readinessOf(client, 503);
    assert.match(body.detail, /does not give this user the rights it needs/);
    await postgres.query("GRANT ALL ON ALL TABLES IN SCHEMA public TO ipam", url);
    await readinessOf(client, 200);
  });

  it("names another program's database at the start, without the password", async () => {
    const url = await postgres.createDatabase();
    await postgres.query("CREATE TABLE networks (name text)", url);
    const { code, output } = await runServer(["--listen", "127.0.0.1:0", "--database", url]);
    assert.equal(code, 1);
    assert.ok(output.includes(nameOf(url)) && /belongs to another program/.test(output), output);
    assert.ok(!output.includes(postgres.password), "the text shows the password");
  });

  it("reports a full disk until there is space, and loses nothing", {
    skip: !isRoot && "needs root to mount",
  }, async () => {
    const path = join(postgres.directory, "small");
    await mkdir(path);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=24m,mode=777", "tmpfs", path]);
    await using stack = new AsyncDisposableStack();
    stack.defer(() => void execFileSync("umount", ["--lazy", path]));
    await mkdir(join(path, "space"));
    execFileSync("chown", ["--reference", postgres.directory, join(path, "space")]);
    await chmod(join(path, "space"), 0o700);
    await postgres.query(`CREATE TABLESPACE small LOCATION '${join(path, "space")}'`);
    await postgres.query("CREATE DATABASE small TABLESPACE small");
    const { server, client } = await serve(postgres.urlOf("small"));
    stack.use(server);
    const filler = join(path, "filler");
    const { bavail, bsize } = await statfs(path);
    await writeFile(filler, Buffer.alloc(Math.max(0, bavail * bsize - 1_000_000)));

    const acknowledged: string[] = [];
    let refused: Answer<Problem> | undefined;
    for (let round = 0; refused === undefined && round < 500; round++) {
      const claims = Array.from({ length: 50 }, (_, index) => claimOf(`p${round}-${index}`));
      const answer = await client.send<Problem>("POST", "/v1/claims", { claims });
      if (answer.status === 200) acknowledged.push(...claims.map(({ name }) => name ?? ""));
      else refused = answer;
    }
    assert.deepEqual([refused?.status, refused?.body.code], [503, "unavailable"]);
    assert.match(refused?.body.detail ?? "", /small on .* cannot grow: its disk is full/);
    const { body } = await readinessOf(client, 503);
    assert.match(body.detail, /its disk is full/);

    await rm(filler);
    await readinessOf(client, 200);
    await client.claim(claimOf("later"));
    const held = new Set((await client.allPorts()).map(({ name }) => name));
    assert.equal(held.size, acknowledged.length + 1);
    for (const name of acknowledged) assert.ok(held.has(name), `${name} is lost`);
    assert.deepEqual(await client.findings(), []);
  });
});
