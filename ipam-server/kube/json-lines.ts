/**
 * Cuts a byte stream of JSON documents, one a line, as the Kubernetes watch sends them. Throws when a line is longer
 * than the cap (an object cannot be: etcd's own limit is far below) or is not JSON.
 */
export class JsonLines {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  readonly #maxLength: number;
  #rest = "";

  constructor(maxLength = 16 * 1024 * 1024) {
    this.#maxLength = maxLength;
  }

  /** The documents that this chunk completes. */
  push(chunk: Uint8Array): unknown[] {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > this.#maxLength)
      throw new RangeError(`a line is longer than ${this.#maxLength} characters`);
    return lines.filter(line => line.trim() !== "").map(line => JSON.parse(line));
  }
}
