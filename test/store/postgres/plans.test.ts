import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import { claim, EVERY_OTHER, network, release } from "../support/builders.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const PORTS = 2000;
const BATCH = 100;
const DEADLINE_MS = 30_000;
/** Rows read for each one that is claimed and released. Plans that scan complete tables read a thousand. */
const ENOUGH = 50;

describe("PostgreSQL query plans", () => {
  it("uses indexes with plans made while the tables were empty", async () => {
    await using postgres = await PrivatePostgres.start({ settings: { autovacuum: "off" } });
    const url = await postgres.createDatabase();
    {
      await using store = await openPostgresStore({ url });
      await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/16" }]), "test");
      // PostgreSQL's statistics say now that the tables are empty, and autovacuum never updates them.
      await postgres.query("VACUUM (ANALYZE)", url);
      const pods = Array.from({ length: PORTS }, (_, index) => `p${index}`);
      for (const make of [(pod: string) => claim(pod, "a", pod), (pod: string) => release("a", pod)]) {
        for (let start = 0; start < PORTS; start += BATCH) {
          const outcomes = await store.commit(pods.slice(start, start + BATCH).map(make));
          assert.ok(outcomes.every(outcome => !("problem" in outcome)));
        }
      }
    }
    const tables = "SELECT relname, n_tup_del, seq_tup_read + idx_tup_fetch AS read FROM pg_stat_user_tables";
    for (const late = AbortSignal.timeout(DEADLINE_MS); ; await delay(100)) {
      late.throwIfAborted();
      const rows = await postgres.query<{ relname: string; n_tup_del: string; read: string }>(tables, url);
      const of = (table: string) => rows.find(({ relname }) => relname === table);
      // Statistics come a moment later.
      if (Number(of("ports")?.n_tup_del) < PORTS || Number(of("fixed_ips")?.n_tup_del) < PORTS) continue;
      for (const table of ["ports", "fixed_ips", "freed"]) {
        const read = Number(of(table)?.read);
        assert.ok(read < ENOUGH * PORTS, `${read} rows of ${table} were read for ${PORTS} ports`);
      }
      return;
    }
  });

  it("reads no more pools for a claim when the subnet has thousands", async () => {
    await using postgres = await PrivatePostgres.start({ settings: { autovacuum: "off" } });
    const url = await postgres.createDatabase();
    const manifest = network("net", 10, [{ cidr: "10.0.0.0/16", exclude: EVERY_OTHER }]);
    const readRows = async () => {
      const statistics = "SELECT seq_tup_read + idx_tup_fetch AS read FROM pg_stat_user_tables WHERE relname = 'pools'";
      const [row] = await postgres.query<{ read: string }>(statistics, url);
      return Number(row?.read);
    };
    {
      await using store = await openPostgresStore({ url });
      await store.putNetwork(manifest, "test");
    }
    const before = await readRows();
    {
      await using store = await openPostgresStore({ url });
      for (let index = 0; index < BATCH; index++) await store.commit([claim(`p${index}`, "a", `p${index}`)]);
    }
    for (const late = AbortSignal.timeout(DEADLINE_MS); ; await delay(100)) {
      late.throwIfAborted();
      const read = (await readRows()) - before;
      // Opening the store reads them all; statistics come a moment later.
      if (read < EVERY_OTHER.length + BATCH) continue;
      assert.ok(read < 2 * EVERY_OTHER.length + ENOUGH * BATCH, `${read} pools were read for ${BATCH} claims`);
      return;
    }
  });
});
