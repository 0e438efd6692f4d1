import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { IpamError, TRANSFER_TYPE } from "../../contract/index.ts";
import type { Store } from "../../domain/store.ts";
import { drainAfterFailure, withoutRequestTimeout } from "../long-body.ts";
import { type Operation, operation } from "../operation.ts";
import type { Reply } from "../reply.ts";
import { importResponse } from "./schema/transfer.ts";
import { encodeTransfer, TransferDecoder } from "./transfer-lines.ts";

/** Who takes or sends nothing for so long is cut off: a copy takes room on the server's disk. */
const STALL_MS = 60_000;

const ENGINE_BACKUP =
  "this server remembers in PostgreSQL, which has its own tools: pg_dump --format=custom, or base backups (pg_basebackup) for a point in time; mooringctl export saves all but the history";

type Transferable = Pick<Store, "copy" | "exportRows" | "importRows">;

/** Taking everything out of a store, and into one. */
export function transferOperations(store: Transferable): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/backup",
      id: "backup",
      summary: "A consistent copy of the SQLite database, made while claims go on",
      action: "copyStore",
      read: "long",
      responses: { 200: { about: "The database file", contentType: "application/vnd.sqlite3" } },
      async handle() {
        if (!store.copy) throw new IpamError("conflict", ENGINE_BACKUP);
        const copy = await store.copy();
        return {
          async stream(response) {
            await using whole = copy;
            await send(response, whole.read(), {
              "Content-Type": "application/vnd.sqlite3",
              "Content-Length": String(whole.size),
            });
          },
        };
      },
    }),
    operation({
      method: "GET",
      path: "/v1/export",
      id: "exportStore",
      summary: "All but the history as lines of JSON that any engine's store can import, made while claims go on",
      action: "copyStore",
      read: "long",
      responses: { 200: { about: "One object a line", contentType: TRANSFER_TYPE } },
      handle: async () => startExport(store),
    }),
    operation({
      method: "POST",
      path: "/v1/import",
      id: "importStore",
      summary: "Fill an empty store with an export: all of it or nothing",
      action: "fillStore",
      responses: { 200: { about: "What was imported", schema: importResponse } },
      handle: ({ request }) => withoutRequestTimeout(request, STALL_MS, () => importBody(store, request)),
    }),
  ];
}

async function startExport(store: Transferable): Promise<Reply> {
  const pieces = encodeTransfer(store.exportRows(), new Date());
  // What fails before the first line is said as a problem.
  const first = await pieces.next();
  async function* all() {
    if (!first.done) yield first.value;
    yield* pieces;
  }
  return {
    async stream(response) {
      try {
        await send(response, all(), { "Content-Type": TRANSFER_TYPE });
      } finally {
        // Also when nobody asked for the second piece.
        await pieces.return(undefined);
      }
    },
  };
}

/** A stream that breaks off ends the connection, so that nobody takes its beginning for the whole. */
async function send(
  response: ServerResponse,
  pieces: AsyncIterable<string | Uint8Array>,
  headers: Record<string, string>,
): Promise<void> {
  response.writeHead(200, { ...headers, "Cache-Control": "no-store" });
  response.setTimeout(STALL_MS, () => response.destroy());
  try {
    await pipeline(Readable.from(pieces, { objectMode: true, highWaterMark: 4 }), response);
  } catch (error) {
    // The reader has left.
    if ((error as NodeJS.ErrnoException).code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  }
}

async function importBody(store: Transferable, request: IncomingMessage): Promise<Reply> {
  const type = request.headers["content-type"];
  if (type !== TRANSFER_TYPE) {
    const sent = type === undefined ? "there is no Content-Type" : `Content-Type is ${type}`;
    throw new IpamError("invalid_request", `${sent}; send ${TRANSFER_TYPE}`, { status: 415 });
  }
  const decoder = new TransferDecoder();
  try {
    // What is left of a refused body is still to be read.
    const bytes = request.iterator({ destroyOnReturn: false });
    return { status: 200, json: await store.importRows(decoder.decode(bytes)) };
  } catch (error) {
    await drainAfterFailure(request);
    throw atLine(decoder.line, error);
  }
}

/** Networks that overlap are a conflict elsewhere; here the file is wrong. */
function atLine(lastLine: number, error: unknown): unknown {
  // The header is line 1.
  const line = error instanceof IpamError && error.details.row !== undefined ? error.details.row + 1 : lastLine;
  if (error instanceof Error && (error as NodeJS.ErrnoException).code === "ECONNRESET") {
    return new IpamError("invalid_request", `line ${line}: the stream broke off`, { cause: error });
  }
  if (line === 0 || !(error instanceof IpamError)) return error;
  if (error.code !== "invalid_request" && error.code !== "conflict") return error;
  return new IpamError("invalid_request", `line ${line}: ${error.message}; nothing was imported`, error.details);
}
