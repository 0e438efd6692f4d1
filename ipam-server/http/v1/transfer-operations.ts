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

/** A client that transfers nothing for this long is disconnected, because a copy uses space on the server's disk. */
const STALL_MS = 60_000;

const ENGINE_BACKUP =
  "this server stores its data in PostgreSQL, which has its own tools: pg_dump --format=custom, or base backups " +
  "(pg_basebackup) for a point in time; mooringctl export saves everything except events";

type Transferable = Pick<Store, "copy" | "exportRows" | "importRows">;

/** Backup, export and import of a store. */
export function transferOperations(store: Transferable): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/backup",
      id: "backup",
      summary: "A consistent copy of the SQLite database, made without stopping claims",
      action: "copyStore",
      read: "long",
      responses: { 200: { about: "The database file", contentType: "application/vnd.sqlite3" } },
      async handle() {
        if (!store.copy) throw new IpamError("conflict", ENGINE_BACKUP);
        const copy = await store.copy();
        return {
          async stream(response) {
            await using file = copy;
            await send(response, file.read(), {
              "Content-Type": "application/vnd.sqlite3",
              "Content-Length": String(file.size),
            });
          },
        };
      },
    }),
    operation({
      method: "GET",
      path: "/v1/export",
      id: "exportStore",
      summary:
        "Everything except events as lines of JSON that a store of any engine can import, made without stopping claims",
      action: "copyStore",
      read: "long",
      responses: { 200: { about: "One object per line", contentType: TRANSFER_TYPE } },
      handle: async () => startExport(store),
    }),
    operation({
      method: "POST",
      path: "/v1/import",
      id: "importStore",
      summary: "Fill an empty store with an export, all or nothing",
      action: "fillStore",
      responses: { 200: { about: "What was imported", schema: importResponse } },
      handle: ({ request }) => withoutRequestTimeout(request, STALL_MS, () => importBody(store, request)),
    }),
  ];
}

async function startExport(store: Transferable): Promise<Reply> {
  const pieces = encodeTransfer(store.exportRows(), new Date());
  // The first chunk is read before the response starts, so that an early failure is sent as a problem.
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
        // Ends the read transaction, also if the response was closed early.
        await pieces.return(undefined);
      }
    },
  };
}

/** Sends a stream. A failure closes the connection, so that the client detects an incomplete response. */
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
    // The client closed the connection.
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
    // The iterator must not destroy the request: the rest of a rejected body is read below.
    const bytes = request.iterator({ destroyOnReturn: false });
    return { status: 200, json: await store.importRows(decoder.decode(bytes)) };
  } catch (error) {
    await drainAfterFailure(request);
    throw toLineError(decoder.line, error);
  }
}

/** Adds the line number. A conflict, such as overlapping networks, means an invalid file here. */
function toLineError(lastLine: number, error: unknown): unknown {
  // The header is line 1.
  const line = error instanceof IpamError && error.details.row !== undefined ? error.details.row + 1 : lastLine;
  if (error instanceof Error && (error as NodeJS.ErrnoException).code === "ECONNRESET") {
    return new IpamError("invalid_request", `line ${line}: the stream broke off`, { cause: error });
  }
  if (line === 0 || !(error instanceof IpamError)) return error;
  if (error.code !== "invalid_request" && error.code !== "conflict") return error;
  return new IpamError("invalid_request", `line ${line}: ${error.message}; nothing was imported`, error.details);
}
