import { connect, type Socket } from "node:net";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import { OvsdbConnection, OvsdbErrorReply } from "./connection.ts";
import type { Row } from "./value.ts";

const DATABASE = "Open_vSwitch";

/** One operation of RFC 7047 §5.2, as it goes on the wire. */
export type Operation = { op: string } & Record<string, unknown>;

/** What an operation answered: `rows` of a select, `uuid` of an insert, `count` of the rest. */
export interface OperationResult {
  rows?: Row[];
  uuid?: unknown;
  count?: number;
}

/** The transaction was rolled back; `operation` is the index of the one that failed, beyond the last for the commit. */
export class TransactionError extends Error {
  override readonly name = "TransactionError";
  readonly operation: number;

  constructor(operation: number, message: string) {
    super(message);
    this.operation = operation;
  }
}

/**
 * The local OVSDB. Connects at the first call and again at the next one after the server went away, so that an agent may
 * hold it for ever. Failures reject with DatapathError `ovs`; a refused transaction with TransactionError.
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
   * Follows the rows of `table` that match `where` until `done` has an answer for one. Resolves to that answer; `start`
   * runs once the monitor stands, so that nothing it causes is missed.
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
      // Handled below by the race; this keeps a failure while `start` runs from being called unhandled.
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
        // Pipelined: the server answers in order, so the monitor stands before `start`'s transaction is carried out.
        const [initial] = await Promise.all([monitor, start()]);
        follow(initial, "keep newer");
        return await deadline.race(promise, late);
      } finally {
        undo();
        // Not awaited: nobody needs the answer, and a session that has ended took the monitor with it.
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

/** `unix:PATH` or `tcp:HOST:PORT` as node:net takes it. */
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
 * Merges an update2 (ovsdb-server(7)) into `rows` and gives the rows it touched. The monitor's first answer is seen after
 * updates that came in the same read: it must not put back what they changed.
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
