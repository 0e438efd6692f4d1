import Database from "better-sqlite3";
import { IpamError } from "../../../contract/index.ts";

const ADVICE: readonly [prefix: string, advice: string][] = [
  [
    "SQLITE_BUSY",
    "is in use by another process; one mooring-ipam at a time may open it (stop the other one, or give this one its own --database)",
  ],
  ["SQLITE_LOCKED", "is in use by another process; one mooring-ipam at a time may open it"],
  ["SQLITE_FULL", "cannot grow: its disk is full; free some space, nothing was changed and nothing is lost"],
  ["SQLITE_IOERR_SHMSIZE", "cannot grow: its disk is full; free some space, nothing was changed and nothing is lost"],
  ["SQLITE_READONLY", "is read-only; the server needs to write to the file and its directory"],
  ["SQLITE_PERM", "is read-only; the server needs to write to the file and its directory"],
  ["SQLITE_CANTOPEN", "cannot be opened; the directory must exist, and the server must be allowed to write to it"],
  [
    "SQLITE_NOTADB",
    "is not an SQLite database; name another file (it is created if it does not exist), or restore this one from a backup",
  ],
  ["SQLITE_CORRUPT", "is damaged; restore it from a backup"],
  ["SQLITE_IOERR", "cannot be read or written; check the disk and the system's log"],
];

/** True for a write, or for the log's shared index, that finds no space. */
export const isDiskFull = (error: unknown): boolean =>
  error instanceof Database.SqliteError && ["SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"].includes(error.code);

/** Of a read that keeps the log from being copied into the database while the disk is full. */
export const noSpaceForRead = (path: string): IpamError =>
  new IpamError(
    "unavailable",
    `a read of the database ${path} was stopped because its disk is nearly full; free some space`,
  );

/** Returns SQLite's failure with advice on what to do; any other error is `internal`. */
export function toIpamError(error: unknown, path: string): IpamError {
  if (error instanceof IpamError) return error;
  if (!(error instanceof Database.SqliteError)) return IpamError.from(error);
  const advice = ADVICE.find(([prefix]) => error.code.startsWith(prefix))?.[1];
  if (!advice)
    return new IpamError("internal", `the database ${path} rejected a statement: ${error.message}`, { cause: error });
  return new IpamError("unavailable", `the database ${path} ${advice} (${error.code}: ${error.message})`, {
    cause: error,
  });
}
