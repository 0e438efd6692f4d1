import { connect, type Socket } from "node:net";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import { OvsdbConnection, OvsdbErrorReply } from "./connection.ts";
import type { Row } from "./value.ts";

const DATABASE = "Open_vSwitch";

/** One operation of RFC 7047 §5.2, as it is sent. */
export type Operation = { op: string } & Record<string, unknown>;

/** An operation's result: `rows` of a select, `uuid` of an insert, `count` of the others. */
export interface OperationResult {
  rows?: Row[];
  uuid?: unknown;
  count?: number;
}

/**
 * The transaction was rolled back. `operation` is the failed operation's index, or beyond the last if the commit
 * failed.
 */
export class TransactionError extends Error {
  override readonly name = "TransactionError";
  readonly operation: number;

  constructor(operation: number, message: string) {
    super(message);
    this.operation = operation;
  }
}

/**
 * The local OVSDB. Connects at first use and reconnects after a loss, so that an agent can keep it. Rejects with
 * DatapathError `ovs`, or TransactionError for a transaction that OVSDB rejected.
 */
export class OvsdbClient implements Disposable {
  readonly #remote: string;
  #connection: Promise<OvsdbConnection> | undefined;
  #current: OvsdbConnection | undefined;
  #monitorCount = 0;

  /** `remote` is `unix:PATH` or `tcp:HOST:PORT`. */
  constructor(remote: string) {
    this.#remote = remote;
  }

  async transact(operations: Operation[], deadline: Deadline): Promise<OperationResult[]> {
    const results = await this.#call(deadline, connection =>
      connection.request("transact", [DATABASE, ...operations], deadline),
    );
    if (!Array.isArray(results)) throw this.#failed(new Error("the answer to transact is not an array"));
    for (const [index, result] of results.entries()) {
      const { error, details } = (result ?? {}) as { error?: string; details?: string };
      if (error) throw new TransactionError(index, details ? `${error}: ${details}` : error);
    }
    return results.map(result => (result ?? {}) as OperationResult);
  }

  /**
   * Monitors the rows of `table` that match `where` until `done` returns a value for one, and resolves with it. Runs
   * `start` after subscribing, so that no update it causes is missed.
   */
  async waitForRow<T>(
    { table, columns, where }: { table: string; columns: string[]; where: unknown[] },
    done: (row: Row) => T | undefined,
    start: () => Promise<unknown>,
    deadline: Deadline,
    late: () => Error,
  ): Promise<T> {
    return this.#call(deadline, async connection => {
      const id = `mooring-${++this.#monitorCount}`;
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      // The race below handles it; until then a failure must not count as unhandled.
      promise.catch(() => undefined);
      const rows = new Map<string, Row>();
      const follow = (update: unknown, order?: "keep newer") => {
        try {
          for (const row of applyUpdate(rows, update, table, order)) {
            const answer = done(row);
            if (answer !== undefined) resolve(answer);
          }
        } catch (error) {
          reject(error);
        }
      };
      const undo = connection.onUpdate(id, follow, reject);
      try {
        const monitor = connection.request("monitor_cond", [DATABASE, id, { [table]: [{ columns, where }] }], deadline);
        // Pipelined: the server answers in order, so the monitor is active before `start`'s transaction.
        const [initial] = await Promise.all([monitor, start()]);
        follow(initial, "keep newer");
        return await deadline.race(promise, late);
      } finally {
        undo();
        // Not awaited: the answer is unused, and a closed session has no monitors.
        connection.request("monitor_cancel", [id], deadline).catch(() => undefined);
      }
    });
  }

  [Symbol.dispose](): void {
    this.#connection?.then(connection => connection.close(new Error("the datapath is closed"))).catch(() => undefined);
    this.#connection = undefined;
  }

  async #call<T>(deadline: Deadline, work: (connection: OvsdbConnection) => Promise<T>): Promise<T> {
    try {
      this.#connection ??= this.#connect(deadline);
      return await work(await this.#connection);
    } catch (error) {
      if (error instanceof DatapathError || error instanceof TransactionError) throw error;
      throw this.#failed(error);
    }
  }

  async #connect(deadline: Deadline): Promise<OvsdbConnection> {
    try {
      const socket = connect(parseRemote(this.#remote));
      await deadline
        .race(opened(socket), () => new Error(`no connection within ${deadline.timeoutMs} ms`))
        .catch(error => {
          socket.destroy();
          throw error;
        });
      const connection = new OvsdbConnection(socket, () => {
        if (this.#current === connection) this.#connection = undefined;
      });
      this.#current = connection;
      return connection;
    } catch (error) {
      this.#connection = undefined;
      throw error;
    }
  }

  #failed(error: unknown): DatapathError {
    const message = error instanceof Error ? error.message : String(error);
    const hint = error instanceof OvsdbErrorReply ? "" : "; is ovsdb-server running, and is this its socket?";
    return new DatapathError("ovs", `OVSDB at ${this.#remote}: ${message}${hint}`, error);
  }
}

/** Parses `unix:PATH` or `tcp:HOST:PORT` for node:net. */
export function parseRemote(remote: string): { path: string } | { host: string; port: number } {
  if (remote.startsWith("unix:/")) return { path: remote.slice("unix:".length) };
  const tcp = /^tcp:(?:\[(?<v6>[^\]]+)\]|(?<host>[^:]+)):(?<port>\d{1,5})$/.exec(remote)?.groups;
  const host = tcp?.v6 ?? tcp?.host;
  if (host !== undefined) return { host, port: Number(tcp?.port) };
  throw new DatapathError("ovs", `the OVSDB remote must be unix:/PATH or tcp:HOST:PORT, not ${JSON.stringify(remote)}`);
}

function opened(socket: Socket): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once("connect", resolve).once("error", reject);
  return promise;
}

/**
 * Merges an update2 (ovsdb-server(7)) into `rows` and returns the changed rows. The initial answer may be processed
 * after updates of the same read and must not overwrite them.
 */
function applyUpdate(rows: Map<string, Row>, update: unknown, table: string, order?: "keep newer"): Row[] {
  const changes = (update as Record<string, Record<string, Record<string, Row | null>>> | null)?.[table] ?? {};
  return Object.entries(changes).flatMap(([uuid, change]) => {
    if (order === "keep newer" && rows.has(uuid)) return [];
    if ("delete" in change) {
      rows.delete(uuid);
      return [];
    }
    const row = { ...rows.get(uuid), ...change.initial, ...change.insert, ...change.modify };
    rows.set(uuid, row);
    return [row];
  });
}
