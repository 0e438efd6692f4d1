import pg from "pg";
import { IpamError } from "../../../contract/index.ts";
import { close, dropAfterAbort } from "./close-connection.ts";
import { remedyOf, toIpamError } from "./errors.ts";
import type { PostgresUrl } from "./postgres-url.ts";
import { watchReplication } from "./replication-wait.ts";

export interface Timeouts {
  connectMs: number;
  /** PostgreSQL cancels a statement that takes longer. */
  statementMs: number;
  /** A statement that waits longer for a lock fails. */
  lockMs: number;
  /** PostgreSQL ends a transaction whose client is idle for longer, which releases its locks. */
  idleInTransactionMs: number;
}

export const TIMEOUTS: Timeouts = { connectMs: 5000, statementMs: 10_000, lockMs: 5000, idleInTransactionMs: 5000 };

/** The application name that identifies Mooring's sessions. */
export const APPLICATION = "mooring-ipam";

/** How much longer than the server's time-out the client waits for an answer before it drops the connection. */
const ANSWER_GRACE_MS = 5000;
const OLDEST_VERSION = 14;
const INT8 = 20;

/**
 * Statements use an index even if statistics still show an empty table, and are planned once a connection. The keep-alive
 * settings let a server that waits for a lock or a write notice that its client is gone.
 */
const SESSION = `SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
  SET plan_cache_mode = force_generic_plan; SET jit = off; SET client_min_messages = warning;
  SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on; SET timezone = 'UTC';
  SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3;
  SET tcp_user_timeout = 15000; SET client_connection_check_interval = 2000;`;

/** `bigint` keys, times, MACs and counts stay below 2^53; offsets are selected as text. */
const types = {
  getTypeParser(oid: number, format?: "text" | "binary") {
    return oid === INT8 ? Number : pg.types.getTypeParser(oid, format);
  },
};

/** Rejects if the host's database is not the one to use. The name is for messages. */
export type Verify = (client: pg.Client, name: string) => Promise<void>;

/**
 * Connects to the host that accepts writes, trying them in order from `first`. Resolves to the client and the host's
 * index. Statements sent without awaiting share a round trip (`pipeline`).
 */
export async function connect(
  url: PostgresUrl,
  first = 0,
  timeouts: Timeouts = TIMEOUTS,
  signal: AbortSignal = new AbortController().signal,
  verify?: Verify,
): Promise<{ client: pg.Client; index: number }> {
  const failures: IpamError[] = [];
  for (let offset = 0; offset < url.hosts.length; offset++) {
    if (signal.aborted && failures.length > 0) break;
    const index = (first + offset) % url.hosts.length;
    try {
      return { client: await connectTo(url, index, timeouts, signal, verify), index };
    } catch (error) {
      failures.push(explain(error, nameOf(url, index)));
    }
  }
  const [single, ...more] = failures;
  if (single && more.length === 0) throw single;
  throw new IpamError(
    "unavailable",
    `no host of the database ${url.name} accepts writes: ${failures.map(({ message }) => message).join("; ")}`,
    // A host that failed for a moment may accept writes soon.
    { cause: failures.find(failure => remedyOf(failure) !== "none") ?? single, retryAfterSeconds: 1 },
  );
}

async function connectTo(
  url: PostgresUrl,
  index: number,
  timeouts: Timeouts,
  signal: AbortSignal,
  verify: Verify | undefined,
): Promise<pg.Client> {
  const { connectMs, statementMs, lockMs, idleInTransactionMs } = timeouts;
  const client = new pg.Client({
    connectionString: url.forHost(index),
    application_name: APPLICATION,
    pipeline: true,
    types,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    connectionTimeoutMillis: connectMs,
    statement_timeout: statementMs,
    lock_timeout: lockMs,
    idle_in_transaction_session_timeout: idleInTransactionMs,
    query_timeout: statementMs + ANSWER_GRACE_MS,
  });
  // Every pending query rejects with the connection's error.
  client.on("error", () => {});
  watchReplication(client);
  dropAfterAbort(signal, client);
  try {
    await client.connect();
    const { rows } = await client.query<{ standby: boolean; readonly: boolean; version: number }>(
      `SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only')::boolean AS readonly,
         current_setting('server_version_num')::int / 10000 AS version`,
    );
    const { standby = false, readonly = false, version = 0 } = rows[0] ?? {};
    if (version < OLDEST_VERSION) throw tooOld(nameOf(url, index), version);
    if (standby || readonly) throw readOnly(nameOf(url, index), standby);
    await client.query(SESSION);
    await verify?.(client, nameOf(url, index));
    return client;
  } catch (error) {
    await close(client);
    throw error;
  }
}

/** An unknown failure at this step concerns the host's name or protocol, so it is not `internal`. */
function explain(error: unknown, name: string): IpamError {
  const failure = toIpamError(error, name);
  if (failure.code !== "internal") return failure;
  const detail = `the database ${name} cannot be connected to (${failure.message}); correct --database, or the server's own settings`;
  return new IpamError("unavailable", detail, { cause: error });
}

function readOnly(name: string, standby: boolean): IpamError {
  const what = standby ? "a standby, which accepts no writes" : "read-only (default_transaction_read_only)";
  const advice =
    "name the primary in --database, or all hosts with commas between, of which the writable one is chosen";
  // This host or another may be promoted: retry as after a rejected statement.
  const cause = Object.assign(new Error("the server is read-only"), { code: "25006" });
  return new IpamError("unavailable", `the database ${name} is ${what}; ${advice}`, { cause, retryAfterSeconds: 1 });
}

function tooOld(name: string, version: number): IpamError {
  const advice = `Mooring needs ${OLDEST_VERSION} or newer`;
  return new IpamError("unavailable", `the database ${name} is served by PostgreSQL ${version}; ${advice}`);
}

function nameOf({ hosts, database }: PostgresUrl, index: number): string {
  const { host, port } = hosts[index] ?? { host: "?", port: 0 };
  return `${database} on ${host}:${port}`;
}
