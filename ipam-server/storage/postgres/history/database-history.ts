import { randomUUID } from "node:crypto";
import type pg from "pg";
import { IpamError } from "../../../contract/index.ts";
import { LOCK_CATALOG } from "../database/catalog-lock.ts";
import { RAISE_COUNTERS } from "./raise-counters.ts";

/** Which PostgreSQL serves the tables, as it says itself. */
export interface ServedBy {
  /** Of the data directory; a physical standby has its primary's. */
  systemId: string;
  /** Of the table `database_history`: pg_restore makes it again, under another number. */
  tableOid: number;
  /** Grows when a standby is promoted, or a recovery to a point in time ends. */
  timeline: number;
}

/** The row of `database_history`. Each promotion gets its own `history`, because two standbys may get one timeline. */
export interface RecordedHistory extends ServedBy {
  history: string;
}

/**
 * `record`: the first use. `promoted`: a standby took over, with or without the last commits of its primary. The others
 * are refused: `copied` tables came by pg_restore, and of a `diverged` server this program knows a later history.
 */
export type HistoryDecision = "same" | "record" | "promoted" | "copied" | "diverged";

/** Decides from what the server says, what its tables say, and what this process has used before. */
export function classifyHistory(
  served: ServedBy,
  recorded: RecordedHistory | undefined,
  known: RecordedHistory | undefined,
): HistoryDecision {
  if (recorded === undefined) return known === undefined ? "record" : "copied";
  const isSamePlace = served.systemId === recorded.systemId && served.tableOid === recorded.tableOid;
  if (!isSamePlace || served.timeline < recorded.timeline) return "copied";
  // A later timeline than the known one was recorded by another replica.
  const isKnown = known === undefined || known.history === recorded.history || recorded.timeline > known.timeline;
  if (!isKnown) return "diverged";
  return served.timeline > recorded.timeline ? "promoted" : "same";
}

const READ = `SELECT (SELECT system_identifier::text FROM pg_control_system()) AS "systemId",
    'database_history'::regclass::oid AS "tableOid",
    ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int AS timeline,
    recorded.system_id AS "recordedSystemId", recorded.table_oid AS "recordedTableOid",
    recorded.timeline AS "recordedTimeline", recorded.history
  FROM (SELECT 1) AS one LEFT JOIN database_history AS recorded ON true`;

type ReadRow = ServedBy & {
  recordedSystemId: string | null;
  recordedTableOid: number;
  recordedTimeline: number;
  history: string;
};

async function readHistory(client: pg.Client): Promise<{ served: ServedBy; recorded: RecordedHistory | undefined }> {
  const { rows } = await client.query<ReadRow>(READ);
  const [row] = rows;
  if (!row) throw new Error("a select without a table has one row");
  const { systemId, tableOid, timeline, recordedSystemId, recordedTableOid, recordedTimeline, history } = row;
  return {
    served: { systemId, tableOid, timeline },
    recorded:
      recordedSystemId === null
        ? undefined
        : { systemId: recordedSystemId, tableOid: recordedTableOid, timeline: recordedTimeline, history },
  };
}

interface VerifyOptions {
  /** What this process used before, if anything. */
  known: RecordedHistory | undefined;
  /** For messages, without a password. */
  name: string;
  onPromotion: (message: string) => void;
}

/**
 * Returns the history that the connection leads to. After a promotion it raises the counters first, in one transaction, so
 * that no number is assigned twice. Rejects with `unavailable` for a copy and for a server that missed a promotion.
 */
export async function verifyHistory(client: pg.Client, options: VerifyOptions): Promise<RecordedHistory> {
  const { known, name, onPromotion } = options;
  const first = await readHistory(client);
  const decision = classifyHistory(first.served, first.recorded, known);
  if (decision === "copied") throw copied(name);
  if (decision === "diverged") throw diverged(name, first.served.timeline, known?.timeline);
  if (decision === "same" && first.recorded) return first.recorded;
  await client.query("BEGIN");
  try {
    await client.query(`SELECT ${LOCK_CATALOG.change}`);
    // Another replica may have recorded it before the lock was acquired.
    const { served, recorded } = await readHistory(client);
    const again = classifyHistory(served, recorded, known);
    if (again === "same" && recorded) {
      await client.query("ROLLBACK");
      return recorded;
    }
    if (again === "promoted") for (const statement of RAISE_COUNTERS) await client.query(statement);
    const history = await recordHistory(client, served);
    await client.query("COMMIT");
    if (again === "promoted") onPromotion(promotedMessage(name, recorded, served));
    return history;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => {});
    throw error;
  }
}

/** Makes the server that is connected the one these tables belong to, in the transaction that is open. */
export async function recordHistory(client: pg.Client, served?: ServedBy): Promise<RecordedHistory> {
  const { systemId, tableOid, timeline } = served ?? (await readHistory(client)).served;
  const history = randomUUID();
  await client.query(
    `INSERT INTO database_history VALUES (1, $1, $2, $3, $4) ON CONFLICT (only_row) DO UPDATE SET
       system_id = excluded.system_id, table_oid = excluded.table_oid, timeline = excluded.timeline, history = excluded.history`,
    [systemId, tableOid, timeline, history],
  );
  return { systemId, tableOid, timeline, history };
}

function promotedMessage(name: string, from: RecordedHistory | undefined, to: ServedBy): string {
  return `the database ${name} was promoted (timeline ${from?.timeline} to ${to.timeline}): counters raised, so that no number is assigned twice; commits that its standby lacked are lost, run mooringctl check`;
}

function copied(name: string): IpamError {
  return new IpamError(
    "unavailable",
    `the database ${name} holds tables that were written elsewhere (pg_restore, pg_upgrade or a copy); stop all servers and run mooring-ipam restore with this --database, which raises its counters above every number assigned`,
  );
}

function diverged(name: string, timeline: number, known: number | undefined): IpamError {
  // Another host may be the right one: retry as after a rejected statement.
  const cause = Object.assign(new Error("the server has another history"), { code: "25006" });
  return new IpamError(
    "unavailable",
    `the database ${name} is on timeline ${timeline} without the changes this program has made on timeline ${known}: a former primary that returned, or a second promoted standby; stop it, and leave one primary`,
    { cause, retryAfterSeconds: 1 },
  );
}
