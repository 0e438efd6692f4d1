import type { TransferEnd } from "../contract/index.ts";
import { CtlError } from "./ctl-error.ts";

/** The last line is short: kind, rows and checksum. */
const TAIL_BYTES = 1024;

/** Remembers the end of a stream of lines, to read an export's checksum from. */
export class TransferTail {
  #tail = Buffer.alloc(0);

  readonly note = (chunk: Uint8Array): void => {
    const joined = Buffer.concat([this.#tail, chunk.subarray(-TAIL_BYTES)]);
    this.#tail = joined.subarray(-TAIL_BYTES);
  };

  /** Throws CtlError when the stream did not end as an export does. */
  readEnd(): TransferEnd {
    const line = this.#tail.toString("utf8").trimEnd().split("\n").at(-1) ?? "";
    try {
      const end: unknown = JSON.parse(line);
      if (isEnd(end)) return end;
    } catch {
      // Said below.
    }
    throw new CtlError("unreachable", "the export broke off before its end", { advice: "Try again." });
  }
}

function isEnd(value: unknown): value is TransferEnd {
  if (typeof value !== "object" || value === null || !("kind" in value) || !("digest" in value)) return false;
  return value.kind === "end" && typeof value.digest === "string";
}
