import { createHash } from "node:crypto";
import type { TransferEnd } from "../../contract/index.ts";
import { encodeTransferRow, type TransferRow } from "./transfer.ts";

/** Hashes rows as the stream writes them. Two stores with the same content have the same digest on any engine. */
export class TransferDigest {
  readonly #hash = createHash("sha256");
  #rows = 0;

  /** Adds a row and returns its text. */
  add(row: TransferRow): string {
    const text = encodeTransferRow(row);
    this.#hash.update(text);
    this.#rows++;
    return text;
  }

  /** Call once, after the last row. */
  end(): TransferEnd {
    return { kind: "end", rows: this.#rows, digest: `sha256:${this.#hash.digest("hex")}` };
  }
}
