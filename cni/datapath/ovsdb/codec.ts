/** An OVSDB JSON-RPC message (RFC 7047 section 4): JSON objects on a stream without separators. */
export type JsonObject = { [key: string]: unknown };

/** The peer violates OVSDB's protocol; the connection is unusable. */
export class OvsdbProtocolError extends Error {
  override readonly name = "OvsdbProtocolError";
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;

/** Far above the size of any node's database. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

/**
 * Splits a byte stream into JSON objects by counting braces outside strings. Accepts pieces of any size: all
 * significant bytes are ASCII, which UTF-8 never uses inside another character.
 */
export class OvsdbDecoder {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #size = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;

  constructor(maxBytes = MAX_MESSAGE_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /** Returns the messages that these bytes complete. After it throws OvsdbProtocolError the decoder is unusable. */
  push(chunk: Buffer): JsonObject[] {
    const messages: JsonObject[] = [];
    let start = 0;
    for (let index = 0; index < chunk.length; index++) {
      const byte = chunk[index] as number;
      if (this.#depth === 0) {
        if (isSpace(byte)) start = index + 1;
        else if (byte === OPEN) this.#depth = 1;
        else throw new OvsdbProtocolError(`expected a JSON object, found byte 0x${byte.toString(16).padStart(2, "0")}`);
      } else if (this.#step(byte)) {
        messages.push(this.#finish(chunk.subarray(start, index + 1)));
        start = index + 1;
      }
    }
    if (start < chunk.length) this.#keep(chunk.subarray(start));
    return messages;
  }

  /** Throws OvsdbProtocolError if the stream ended inside a message. */
  end(): void {
    if (this.#depth > 0)
      throw new OvsdbProtocolError(`the stream ended inside a message, after ${this.#size} bytes of it`);
  }

  /** True when this byte closes the outermost object. */
  #step(byte: number): boolean {
    if (this.#escaped) this.#escaped = false;
    else if (this.#inString) {
      if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) this.#inString = false;
    } else if (byte === QUOTE) this.#inString = true;
    else if (byte === OPEN) this.#depth++;
    else if (byte === CLOSE) return --this.#depth === 0;
    return false;
  }

  #keep(part: Buffer): void {
    this.#size += part.length;
    if (this.#size > this.#maxBytes) throw new OvsdbProtocolError(`a message is longer than ${this.#maxBytes} bytes`);
    this.#parts.push(part);
  }

  #finish(last: Buffer): JsonObject {
    this.#keep(last);
    const text = Buffer.concat(this.#parts).toString("utf8");
    this.#parts = [];
    this.#size = 0;
    try {
      return JSON.parse(text) as JsonObject;
    } catch (error) {
      const shown = text.length > 80 ? `${text.slice(0, 80)}...` : text;
      throw new OvsdbProtocolError(`a message is not JSON: ${shown}`, { cause: error });
    }
  }
}

export function encodeJson(message: JsonObject): Buffer {
  return Buffer.from(JSON.stringify(message));
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}
