import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import pg from "pg";
import type { IpamError } from "../../../ipam-server/contract/index.ts";
import { LOCK_CATALOG } from "../../../ipam-server/storage/postgres/database/catalog-lock.ts";
import { migrate } from "../../../ipam-server/storage/postgres/database/migrate.ts";
import { MIGRATIONS } from "../../../ipam-server/storage/postgres/database/migrations.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import { assertHealthy, attach, claim, network } from "../support/builders.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const NET = network("net", 10, [{ cidr: "10.0.0.0/16" }]);
const NEWEST = Math.max(...MIGRATIONS.map(({ version }) => version));

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

async function assertRefused(url: string, ...patterns: RegExp[]): Promise<void> {
  await assert.rejects(
    openPostgresStore({ url, retryForMs: 200, timeouts: { connectMs: 2000 } }),
    (error: IpamError) => {
      assert.equal(error.code, "unavailable");
      for (const pattern of patterns) assert.match(error.message, pattern);
      assert.ok(!error.message.includes(server.password) && !error.message.includes("wrong-word"), error.message);
      return true;
    },
  );
}

describe("unusable PostgreSQL database", () => {
  it("names an unknown host and a closed port", async () => {
    await assertRefused(
      "postgres://me:wrong-word@no-such-host.invalid/db",
      /db on no-such-host\.invalid:5432.*no such host/,
    );
    await assertRefused("postgres://me:wrong-word@127.0.0.1:1/db", /db on 127\.0\.0\.1:1 .*nothing listens/);
    await assertRefused(
      "postgres://me:wrong-word@127.0.0.1:1,127.0.0.1:2/db",
      /no host of the database db on 127\.0\.0\.1:1, 127\.0\.0\.1:2 accepts writes/,
    );
  });

  it("names a wrong password, an unknown user and an unknown database", async () => {
    await assertRefused(server.urlOf("postgres", "mooring", "wrong-word"), /postgres on 127.*refuses the login/);
    await assertRefused(server.urlOf("postgres", "nobody-here"), /refuses the login/);
    const without = new URL(server.urlOf("postgres"));
    without.password = "";
    await assertRefused(without.href, /postgres on 127.*wants a password/);
    await assertRefused(server.urlOf("not_there"), /not_there on 127.*is not there; create it/);
  });

  it("rejects another program's database unchanged", async () => {
    const url = await server.createDatabase();
    await server.query("CREATE TABLE recipes (name text)", url);
    await assertRefused(url, /belongs to another program \(it has tables such as recipes\)/);
    const alike = await server.createDatabase();
    await server.query("CREATE TABLE networks (name text)", alike);
    await assertRefused(alike, /belongs to another program \(it has tables such as networks\)/);
    const other = await server.createDatabase();
    await server.query("CREATE TABLE schema_migrations (version text)", other);
    await assertRefused(other, /belongs to another program.*schema_migrations/);
    for (const [at, count] of [
      [url, 1],
      [other, 1],
    ] as const) {
      const tables = await server.query("SELECT FROM pg_tables WHERE schemaname = 'public'", at);
      assert.equal(tables.length, count);
    }
  });

  it("accepts a database with tables of extensions", async () => {
    const url = await server.createDatabase();
    await server.query("CREATE EXTENSION pg_stat_statements", url).catch(() => {});
    await using store = await openPostgresStore({ url });
    await store.ready();
  });

  it("rejects a newer schema unless it supports this program", async () => {
    const url = await server.createDatabase();
    await (await openPostgresStore({ url }))[Symbol.asyncDispose]();
    const next = NEWEST + 1;
    await server.query(`INSERT INTO schema_migrations VALUES (${next}, 'an addition', ${NEWEST}, 0)`, url);
    {
      await using store = await openPostgresStore({ url });
      await store.putNetwork(NET, "test");
      await attach(store, claim("p", "a", "p"));
    }
    await server.query(`INSERT INTO schema_migrations VALUES (${next + 1}, 'a cut', ${next}, 0)`, url);
    await assertRefused(url, new RegExp(`schema version ${next + 1}, which needs a program of version ${next}`));
  });

  it("names missing rights", async () => {
    const url = await server.createDatabase();
    await server.query("CREATE ROLE guest LOGIN PASSWORD 'guest'");
    const guest = server.urlOf(new URL(url).pathname.slice(1), "guest", "guest");
    await assertRefused(guest, /does not give this user the rights it needs; let it own the database/);
    await (await openPostgresStore({ url }))[Symbol.asyncDispose]();
    await assertRefused(guest, /does not give this user the rights it needs/);
    await server.query("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest", url);
    await assertRefused(guest, /does not give this user the rights it needs.*permission denied for table writers/);
  });

  it("names a server without TLS, a silent one and one of another protocol", async () => {
    const url = await server.createDatabase();
    await assertRefused(
      `${url}?sslmode=require`,
      /cannot be connected to \(The server does not support SSL connections\)/,
    );
    await using proxy = await CuttingProxy.start(url);
    proxy.refuses = true;
    await assertRefused(proxy.url, /cannot be reached/);
    proxy.refuses = false;
    proxy.freeze();
    await assertRefused(proxy.url, /cannot be reached.*timeout expired/);
  });

  it("reports a read-only database at the start and in readiness", async () => {
    const url = await server.createDatabase();
    const name = new URL(url).pathname.slice(1);
    await using store = await openPostgresStore({ url, retryForMs: 200 });
    await store.ready();
    await server.query(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
    await assertRefused(url, new RegExp(`${name} on .* is read-only`));
    await server.terminate(url);
    await assert.rejects(store.ready(), { code: "unavailable", message: /is read-only/ });
    await assert.rejects(store.commit([claim("p", "a", "p")]), { code: "unavailable", message: /is read-only/ });
    await server.query(`ALTER DATABASE ${name} RESET default_transaction_read_only`);
    await store.ready();
  });
});

describe("migrations", () => {
  it("creates the tables once when replicas start together", async () => {
    const url = await server.createDatabase();
    const stores = await Promise.all(Array.from({ length: 6 }, () => openPostgresStore({ url })));
    await stores[0]?.putNetwork(NET, "test");
    for (const store of stores) await attach(store, claim("p", "a", "p"));
    for (const store of stores) await assertHealthy(store);
    const applied = await server.query<{ version: number }>("SELECT version FROM schema_migrations ORDER BY 1", url);
    assert.deepEqual(
      applied.map(({ version }) => version),
      MIGRATIONS.map(({ version }) => version),
    );
    for (const store of stores) await store[Symbol.asyncDispose]();
  });

  it("rolls back a failed migration while older replicas keep running", async () => {
    const url = await server.createDatabase();
    await using store = await openPostgresStore({ url });
    await store.putNetwork(NET, "test");
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      const [good, bad] = ["CREATE TABLE extra (a int)", "CREATE TABLE extra (a int)"].map((sql, index) => ({
        version: NEWEST + 1 + index,
        name: `step ${index}`,
        oldestProgram: NEWEST,
        sql,
      }));
      assert.ok(good && bad);
      await assert.rejects(migrate(client, "it", 0, [...MIGRATIONS, good, bad]), { code: "42P07" });
      assert.deepEqual(await server.query("SELECT FROM pg_tables WHERE tablename = 'extra'", url), []);
      await attach(store, claim("p", "a", "p"));
      await migrate(client, "it", 0, [...MIGRATIONS, good]);
      await attach(store, claim("q", "a", "q"));
    } finally {
      await client.end();
    }
  });

  it("yields to claims during a long read, and retries", async () => {
    const url = await server.createDatabase();
    await using store = await openPostgresStore({ url });
    await store.putNetwork(NET, "test");
    const [reader, client] = [{}, { lock_timeout: 100 }].map(more => new pg.Client({ connectionString: url, ...more }));
    assert.ok(reader && client);
    await Promise.all([reader.connect(), client.connect()]);
    try {
      await reader.query("BEGIN");
      await reader.query("SELECT FROM ports");
      const step = { version: NEWEST + 1, name: "a column", oldestProgram: NEWEST };
      const sql = "ALTER TABLE networks ADD COLUMN extra text; ALTER TABLE ports ADD COLUMN extra text";
      const migrating = migrate(client, "it", 0, [...MIGRATIONS, { ...step, sql }]);
      const late = AbortSignal.timeout(30_000);
      while ((await server.query("SELECT FROM pg_locks WHERE NOT granted", url)).length === 0) late.throwIfAborted();
      await attach(store, claim("p", "a", "p"));
      // The other way round: the migration has the networks, and waits for the ports.
      while ((await server.query("SELECT FROM pg_locks WHERE NOT granted", url)).length === 0) late.throwIfAborted();
      await reader.query("SELECT FROM networks");
      await reader.query("COMMIT");
      await migrating;
      await attach(store, claim("q", "a", "q"));
    } finally {
      await Promise.all([reader.end(), client.end()]);
    }
  });
});

describe("PostgreSQL catalog lock", () => {
  it("declares an unchanged network while a claim holds the lock that excludes changes", async () => {
    const url = await server.createDatabase();
    await using store = await openPostgresStore({ url });
    await store.putNetwork(NET, "test");
    const claiming = new pg.Client({ connectionString: url });
    await claiming.connect();
    try {
      await claiming.query(`BEGIN; SELECT ${LOCK_CATALOG.read}`);
      assert.equal((await store.putNetwork(NET, "test")).outcome, "unchanged");
    } finally {
      await claiming.end();
    }
  });
});
