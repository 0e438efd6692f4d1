import type { TransferEnd } from "../contract/index.ts";
import { CtlError } from "./ctl-error.ts";

/** Longer than the last line, which has kind, rows and checksum. */
const TAIL_BYTES = 1024;

/** Keeps the last bytes of a stream, to read an export's checksum from. */
export class TransferTail {
  #tail = Buffer.alloc(0);

  readonly append = (chunk: Uint8Array): void => {
    const joined = Buffer.concat([this.#tail, chunk.subarray(-TAIL_BYTES)]);
    this.#tail = joined.subarray(-TAIL_BYTES);
  };

  /** Throws CtlError if the stream does not end with an export's last line. */
  readEnd(): TransferEnd {
    const line = this.#tail.toString("utf8").trimEnd().split("\n").at(-1) ?? "";
    try {
      const end: unknown = JSON.parse(line);
      if (isEnd(end)) return end;
    } catch {
      // Not JSON: reported below.
    }
    throw new CtlError("unreachable", "the export ended early", { advice: "Try again." });
  }
}

function isEnd(value: unknown): value is TransferEnd {
  if (typeof value !== "object" || value === null || !("kind" in value) || !("digest" in value)) return false;
  return value.kind === "end" && typeof value.digest === "string";
}
