import { createHash } from "node:crypto";
import type { TransferEnd } from "../../contract/index.ts";
import { encodeTransferRow, type TransferRow } from "./transfer.ts";

/** The hash over rows as the stream writes them: the same for two stores that hold the same, whatever their engines. */
export class TransferDigest {
  readonly #hash = createHash("sha256");
  #rows = 0;

  /** @returns the row's text. */
  add(row: TransferRow): string {
    const text = encodeTransferRow(row);
    this.#hash.update(text);
    this.#rows++;
    return text;
  }

  /** Once, behind the last row. */
  end(): TransferEnd {
    return { kind: "end", rows: this.#rows, digest: `sha256:${this.#hash.digest("hex")}` };
  }
}
