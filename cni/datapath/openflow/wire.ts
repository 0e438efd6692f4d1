/** The peer violates OpenFlow; the connection is unusable. */
export class OpenflowProtocolError extends Error {
  override readonly name = "OpenflowProtocolError";
}

/** A field or an action, well-formed, that Mooring never writes: the flow belongs to somebody else. */
export class OpenflowUnsupportedError extends Error {
  override readonly name = "OpenflowUnsupportedError";
}

/** A value that OpenFlow cannot carry. The message names the field, what was given and what is accepted. */
export class OpenflowValueError extends Error {
  override readonly name = "OpenflowValueError";

  constructor(field: string, given: unknown, accepted: string) {
    super(`${field} is ${typeof given === "string" ? JSON.stringify(given) : String(given)}: must be ${accepted}`);
  }
}

export type Version = 5 | 6;
export const OPENFLOW_14 = 5;
export const OPENFLOW_15 = 6;
/** The experimenter of Open vSwitch's extensions. */
export const NICIRA = 0x2320;

/** A message's length field has 16 bits. */
const MAX_MESSAGE_BYTES = 0xffff;
const HIGHEST = { 1: 0xff, 2: 0xffff, 4: 0xffffffff } as const;
const HIGHEST_64 = 0xffff_ffff_ffff_ffffn;

/** Appends big-endian values to a buffer that grows. */
export class Writer {
  readonly version: Version;
  #bytes: Buffer;
  #length = 0;

  constructor(version: Version, sizeBytes = 4096) {
    this.version = version;
    this.#bytes = Buffer.allocUnsafe(sizeBytes);
  }

  get length(): number {
    return this.#length;
  }

  /** `field` names the value in errors. */
  uint(value: number, size: 1 | 2 | 4, field: string): void {
    if (!Number.isInteger(value) || value < 0 || value > HIGHEST[size])
      throw new OpenflowValueError(field, value, `an integer from 0 to ${HIGHEST[size]}`);
    const at = this.#grow(size);
    this.#bytes.writeUIntBE(value, at, size);
  }

  uint64(value: bigint, field: string): void {
    if (value < 0n || value > HIGHEST_64) throw new OpenflowValueError(field, value, "an integer of 64 bits");
    const at = this.#grow(8);
    this.#bytes.writeBigUInt64BE(value, at);
  }

  bytes(value: Uint8Array): void {
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
  }

  zeros(count: number): void {
    const at = this.#grow(count);
    this.#bytes.fill(0, at, at + count);
  }

  /** Pads what begins at `start` to a multiple of 8 bytes. */
  pad(start: number): void {
    this.zeros(-(this.#length - start) & 7);
  }

  /** Writes the number of bytes since `start` into the two bytes at `at`. */
  patchLength(at: number, start: number, what: string): void {
    const length = this.#length - start;
    if (length > MAX_MESSAGE_BYTES)
      throw new OpenflowValueError(`the length of ${what}`, length, `at most ${MAX_MESSAGE_BYTES} bytes`);
    this.#bytes.writeUInt16BE(length, at);
  }

  patchUint16(at: number, value: number): void {
    this.#bytes.writeUInt16BE(value, at);
  }

  /** Removes what was written since `start`. */
  truncate(start: number): void {
    this.#length = start;
  }

  /** The bytes so far. The writer is used up. */
  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Returns where `count` bytes go. */
  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length));
      this.#bytes.copy(larger, 0, 0, at);
      this.#bytes = larger;
    }
    return at;
  }
}

/** Reads big-endian values within the bytes it was given. `what` names them in errors. */
export class Reader {
  readonly version: Version;
  readonly what: string;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer, version: Version, what: string) {
    this.#bytes = bytes;
    this.version = version;
    this.what = what;
  }

  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  uint(size: 1 | 2 | 4): number {
    return this.#bytes.readUIntBE(this.#take(size), size);
  }

  uint64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  bytes(count: number): Buffer {
    const at = this.#take(count);
    return this.#bytes.subarray(at, at + count);
  }

  skip(count: number): void {
    this.#take(count);
  }

  /** The next bytes as a reader of their own. */
  within(count: number, what: string): Reader {
    return new Reader(this.bytes(count), this.version, what);
  }

  /** Skips the padding to a multiple of 8 of what was `length` bytes long. */
  skipPadding(length: number): void {
    this.skip(-length & 7);
  }

  /** The next value, which stays the next one. */
  peek(size: 2 | 4): number {
    const value = this.uint(size);
    this.#at -= size;
    return value;
  }

  /** NUL-terminated text in a field of `count` bytes. */
  text(count: number): string {
    const bytes = this.bytes(count);
    const end = bytes.indexOf(0);
    return bytes.subarray(0, end === -1 ? count : end).toString("utf8");
  }

  error(problem: string): OpenflowProtocolError {
    return new OpenflowProtocolError(`${this.what}: ${problem}`);
  }

  unsupported(problem: string): OpenflowUnsupportedError {
    return new OpenflowUnsupportedError(`${this.what}: ${problem}`);
  }

  #take(count: number): number {
    if (count < 0 || count > this.remaining) throw this.error(`${count} bytes expected, ${this.remaining} left`);
    const at = this.#at;
    this.#at += count;
    return at;
  }
}
