import {
  IpamError,
  TRANSFER_FORMAT,
  TRANSFER_KIND,
  type TransferEnd,
  type TransferHeader,
} from "../../contract/index.ts";
import type { TransferRow } from "../../domain/transfer/transfer.ts";
import { TransferDigest } from "../../domain/transfer/transfer-digest.ts";
import { splitLines } from "../lines.ts";
import { validate } from "../validate.ts";
import * as schema from "./schema/transfer.ts";

/** Lines are joined into chunks of about this length. */
const CHUNK_LENGTH = 64 * 1024;

/** Yields an export as chunks of complete lines. */
export async function* encodeTransfer(rows: AsyncIterable<TransferRow>, now: Date): AsyncGenerator<string> {
  const digest = new TransferDigest();
  const header: TransferHeader = { kind: TRANSFER_KIND, format: TRANSFER_FORMAT, exportedAt: now.toISOString() };
  let text = `${JSON.stringify(header)}\n`;
  for await (const row of rows) {
    text += digest.add(row);
    if (text.length < CHUNK_LENGTH) continue;
    yield text;
    text = "";
  }
  yield `${text}${JSON.stringify(digest.end())}\n`;
}

/** Parses an export line by line. `line` is the number of the current line, for error messages. */
export class TransferDecoder {
  line = 0;

  /** Yields the rows, then the end, whose checksum was verified. Rejects with `invalid_request`. */
  async *decode(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<TransferRow | TransferEnd> {
    const digest = new TransferDigest();
    let end: TransferEnd | undefined;
    this.line = 1;
    for await (const text of splitLines(bytes)) {
      if (end) throw new IpamError("invalid_request", "follows the end line: the file is damaged");
      const value = parse(text);
      if (this.line === 1) readHeader(value);
      else {
        const row = validate(schema.line, value);
        if (row.kind === "end") end = assertSameEnd(row, digest.end());
        else {
          digest.add(row);
          yield row;
        }
      }
      this.line++;
    }
    if (!end) throw new IpamError("invalid_request", "is missing: the file is cut off before its end");
    yield end;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new IpamError("invalid_request", `is not JSON: ${reason}`, { cause: error });
  }
}

function readHeader(value: unknown): void {
  const isExport = typeof value === "object" && value !== null && "kind" in value && value.kind === TRANSFER_KIND;
  if (!isExport) throw new IpamError("invalid_request", `is not the header of an export ("kind":"${TRANSFER_KIND}")`);
  // Checked before the header is validated, because a newer format may have another header.
  const format = "format" in value ? value.format : undefined;
  if (typeof format === "number" && format > TRANSFER_FORMAT) {
    const advice = "import with a mooring-ipam at least as new as the one that exported";
    const detail = `format ${format} is newer than this program's ${TRANSFER_FORMAT}; ${advice}`;
    throw new IpamError("invalid_request", detail, { field: "format" });
  }
  validate(schema.header, value);
}

function assertSameEnd(stated: TransferEnd, found: TransferEnd): TransferEnd {
  if (stated.rows !== found.rows) {
    const detail = `counts ${stated.rows} lines, but ${found.rows} were read: the file is damaged`;
    throw new IpamError("invalid_request", detail, { field: "rows" });
  }
  if (stated.digest !== found.digest) {
    const actual = `but the lines before make ${found.digest}: the file is damaged or was edited`;
    const detail = `has the checksum ${stated.digest}, ${actual}`;
    throw new IpamError("invalid_request", detail, { field: "digest" });
  }
  return stated;
}
