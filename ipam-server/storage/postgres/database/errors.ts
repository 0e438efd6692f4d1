import { IpamError } from "../../../contract/index.ts";

/**
 * What to do with a transaction whose statement failed. `again`: another replica conflicted, so decide the same work
 * again. `reconnect`: this connection or server is unusable, so try another.
 */
type Remedy = "again" | "reconnect" | "none";

/** By SQLSTATE, or by its first two characters (the class). PostgreSQL's documentation, appendix A. */
const REMEDIES: Readonly<Record<string, Remedy>> = {
  // Serialisation failure, deadlock: PostgreSQL aborted this transaction.
  "40001": "again",
  "40P01": "again",
  // Two replicas created a port of one name, or claimed one address or MAC, at the same time.
  "23505": "again",
  "23503": "again",
  // Division by zero: our own statements raise it when a row of the snapshot is gone.
  "22012": "again",
  // The lock time-out: another transaction holds a lock for long.
  "55P03": "again",
  // A plan from before a migration.
  "0A000": "reconnect",
  "26000": "reconnect",
  "25P02": "again",
  "25P03": "reconnect",
  // The primary became a standby.
  "25006": "reconnect",
  "57P01": "reconnect",
  "57P02": "reconnect",
  "57P03": "reconnect",
  "57P05": "reconnect",
  "53300": "reconnect",
  "08": "reconnect",
  // Node's codes for a lost or refused connection.
  ECONNRESET: "reconnect",
  ECONNREFUSED: "reconnect",
  EPIPE: "reconnect",
  ETIMEDOUT: "reconnect",
  EHOSTUNREACH: "reconnect",
  ENETUNREACH: "reconnect",
  ENOTFOUND: "reconnect",
  EAI_AGAIN: "reconnect",
  ENOENT: "reconnect",
};

const ADVICE: readonly [code: string, advice: string][] = [
  [
    "28000",
    "refuses the login; correct the user in --database, allow it in pg_hba.conf, or add ?sslmode=verify-full where that wants TLS",
  ],
  ["28", "refuses the login; correct user and password in --database"],
  ["3D000", "is not there; create it (CREATE DATABASE), or correct its name in --database"],
  ["3F000", "has no schema to create tables in; create one, or correct the role's search_path"],
  [
    "42501",
    "does not give this user the rights it needs; let it own the database, or GRANT CREATE and USAGE on its schema",
  ],
  [
    "25006",
    "is read-only; name the primary in --database, or all hosts with commas between, of which the writable one is chosen",
  ],
  ["53100", "cannot grow: its disk is full; free some space, nothing was changed and nothing is lost"],
  ["53200", "is out of memory; check its log"],
  ["53300", "accepts no more connections; raise max_connections or stop some of its clients"],
  ["55P03", "is busy: another transaction holds what this one needs; try again"],
  ["57014", "took longer over a statement than its time-out allows; try again, and check its load"],
  ["57P03", "is starting up or shutting down; try again"],
  ["ENOTFOUND", "cannot be reached: there is no such host; correct it in --database"],
  [
    "ECONNREFUSED",
    "cannot be reached: nothing listens there; start PostgreSQL, or correct host and port in --database",
  ],
];

/** Messages of `pg` errors without a code. */
const LOST =
  /connection terminated|connection error|not queryable|timeout expired|query read timeout|client was closed/i;

/** `pg`'s message when the server requests a password and there is none. */
const NO_PASSWORD = /client password must be/;

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** Classifies an IpamError by its cause; without a cause it is an answer, not a failure. */
export function remedyOf(error: unknown): Remedy {
  if (error instanceof IpamError) return error.cause === undefined ? "none" : remedyOf(error.cause);
  const code = codeOf(error);
  if (code === undefined) return error instanceof Error && LOST.test(error.message) ? "reconnect" : "none";
  return REMEDIES[code] ?? REMEDIES[code.slice(0, 2)] ?? "none";
}

/** Returns PostgreSQL's failure with advice on what to do; any other error is `internal`. `name` contains no password. */
export function toIpamError(error: unknown, name: string): IpamError {
  if (error instanceof IpamError) return error;
  const code = codeOf(error);
  const remedy = remedyOf(error);
  const text = `${code === undefined ? "" : `${code}: `}${error instanceof Error ? error.message : error}`;
  const advice = ADVICE.find(([prefix]) => code?.startsWith(prefix))?.[1];
  const unavailable = (what: string) =>
    new IpamError("unavailable", `the database ${name} ${what} (${text})`, { cause: error, retryAfterSeconds: 1 });
  if (advice !== undefined) return unavailable(advice);
  if (NO_PASSWORD.test(text)) return unavailable("wants a password; give it in --database, PGPASSWORD or ~/.pgpass");
  if (remedy === "reconnect") return unavailable("cannot be reached; try again");
  if (remedy === "again") return unavailable("had too many conflicting transactions; try again");
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) return IpamError.from(error);
  return new IpamError("internal", `the database ${name} rejected a statement (${text})`, { cause: error });
}
