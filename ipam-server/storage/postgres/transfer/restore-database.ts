import type pg from "pg";
import { IpamError } from "../../../contract/index.ts";
import { formatRecovery } from "../../../domain/recovery/recovery-state.ts";
import type { RestoredContent } from "../../../domain/transfer/restore-offsets.ts";
import { RECOVERING_HOSTS } from "../../recovering-hosts.ts";
import { checkStore } from "../check/check-store.ts";
import { LOCK_CATALOG } from "../database/catalog-lock.ts";
import { close } from "../database/close-connection.ts";
import { APPLICATION, TIMEOUTS } from "../database/connect.ts";
import { toIpamError } from "../database/errors.ts";
import { migrate } from "../database/migrate.ts";
import { type PostgresUrl, parsePostgresUrl } from "../database/postgres-url.ts";
import { Primary } from "../database/primary.ts";
import { senderOf } from "../database/statement.ts";
import { recordHistory } from "../history/database-history.ts";
import { RAISE_COUNTERS } from "../history/raise-counters.ts";
import { loadCatalog } from "../rows/catalog-rows.ts";

/** A check of the complete database may take minutes. */
const LONG = { ...TIMEOUTS, statementMs: 600_000 };

const CONTENT = `SELECT (SELECT count(*) FROM networks) AS networks, (SELECT count(*) FROM ports) AS ports,
  (SELECT count(*) FROM ports WHERE host IS NOT NULL) AS bound, epoch_floor AS "minimumEpoch", floor AS "minimumSeq",
  (SELECT time FROM events ORDER BY seq DESC LIMIT 1) AS "newestChange" FROM catalog_state CROSS JOIN event_counter`;

interface RestoredDatabase extends RestoredContent {
  /** Hosts and database, without a password. */
  name: string;
}

/**
 * Prepares a database that pg_restore has filled: checks and migrates it, and raises its counters above everything
 * assigned since the backup. Rejects with `invalid_request` for a damaged database, `conflict` while servers are
 * connected, `unavailable` otherwise; then only the schema version may have changed.
 */
export async function finishRestoration(url: string, now: number): Promise<RestoredDatabase> {
  const primary = new Primary(parseUrl(url), LONG);
  const { name } = primary;
  try {
    const client = await primary.connect();
    try {
      await assertNoOthers(client, name);
      await migrate(client, name, now);
      await client.query("BEGIN");
      await client.query(`SELECT ${LOCK_CATALOG.change}`);
      const send = senderOf(client);
      const [finding] = await checkStore(send, (await loadCatalog(send)).catalog);
      if (finding)
        throw new IpamError("invalid_request", `the database ${name} is damaged: ${finding.what}: ${finding.where}`);
      for (const statement of RAISE_COUNTERS) await client.query(statement);
      await recordHistory(client);
      // The servers assign nothing new until these have reported.
      const { rows: hosts } = await client.query<{ cluster: string | null; host: string }>(RECOVERING_HOSTS);
      await client.query("UPDATE catalog_state SET recovery = $1", [formatRecovery(hosts)]);
      const { rows } = await client.query<RestoredContent & { newestChange: number | null }>(CONTENT);
      await client.query("COMMIT");
      const [content] = rows;
      if (!content) throw new Error("the tables catalog_state and event_counter have one row each");
      const { newestChange, ...counted } = content;
      return { name, ...counted, ...(newestChange !== null && { newestChange }) };
    } finally {
      await close(client);
    }
  } catch (error) {
    throw toIpamError(error, name);
  }
}

function parseUrl(url: string): PostgresUrl {
  try {
    return parsePostgresUrl(url);
  } catch (error) {
    throw new IpamError("invalid_request", `--database ${(error as Error).message}`, { cause: error });
  }
}

async function assertNoOthers(client: pg.Client, name: string): Promise<void> {
  const { rows } = await client.query<{ there: boolean; servers: number }>(
    `SELECT to_regclass('schema_migrations') IS NOT NULL AS there, (
       SELECT count(*) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = '${APPLICATION}' AND pid <> pg_backend_pid()
     ) AS servers`,
  );
  const { there = false, servers = 0 } = rows[0] ?? {};
  if (!there)
    throw new IpamError("invalid_request", `the database ${name} holds nothing of Mooring; pg_restore into it first`);
  if (servers > 0)
    throw new IpamError("conflict", `servers have ${name} open (connections: ${servers}); stop them first`);
}
