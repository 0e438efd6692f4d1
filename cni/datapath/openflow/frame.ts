import { OPENFLOW_14, OPENFLOW_15, OpenflowProtocolError } from "./wire.ts";

const HEADER_BYTES = 8;

/** One message: its header (OpenFlow 1.5 section 7.1.1) and the bytes after it. */
export interface Frame {
  readonly version: number;
  readonly type: number;
  readonly xid: number;
  readonly body: Buffer;
}

/**
 * Splits a byte stream into messages by the length in their headers. Accepts pieces of any size; a message has at most
 * 65535 bytes, so no more than that is kept.
 */
export class OpenflowDecoder {
  #parts: Buffer[] = [];
  #size = 0;
  /** Of the message begun; unknown before its header is complete. */
  #length: number | undefined;

  /** Returns the messages that these bytes complete. After it throws OpenflowProtocolError the decoder is unusable. */
  push(chunk: Buffer): Frame[] {
    const frames: Frame[] = [];
    this.#parts.push(chunk);
    this.#size += chunk.length;
    while (this.#size >= (this.#length ?? HEADER_BYTES)) {
      const bytes = this.#join();
      this.#length ??= readLength(bytes);
      if (this.#size < this.#length) break;
      frames.push(readFrame(bytes.subarray(0, this.#length)));
      this.#size -= this.#length;
      this.#parts = [bytes.subarray(this.#length)];
      this.#length = undefined;
    }
    return frames;
  }

  /** Throws OpenflowProtocolError if the stream ended inside a message. */
  end(): undefined {
    if (this.#size > 0)
      throw new OpenflowProtocolError(`the stream ended inside a message, after ${this.#size} bytes of it`);
  }

  #join(): Buffer {
    const [first, ...rest] = this.#parts;
    if (first !== undefined && rest.length === 0) return first;
    const joined = Buffer.concat(this.#parts);
    this.#parts = [joined];
    return joined;
  }
}

function readLength(bytes: Buffer): number {
  const length = bytes.readUInt16BE(2);
  if (length < HEADER_BYTES)
    throw new OpenflowProtocolError(`a message says it is ${length} bytes long, at least ${HEADER_BYTES} are needed`);
  const [version = 0, type = 0] = bytes;
  // The first message, HELLO, has the highest version of its sender; an ERROR may answer it in any version.
  if (version !== OPENFLOW_14 && version !== OPENFLOW_15 && type > 1)
    throw new OpenflowProtocolError(`a message has version ${version}, 5 (OpenFlow 1.4) or 6 (1.5) is expected`);
  return length;
}

function readFrame(bytes: Buffer): Frame {
  const [version = 0, type = 0] = bytes;
  return { version, type, xid: bytes.readUInt32BE(4), body: bytes.subarray(HEADER_BYTES) };
}
