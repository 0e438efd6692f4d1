import type { Socket } from "node:net";
import type { Deadline } from "../deadline.ts";
import { decodeReply, selectVersion } from "./decode-message.ts";
import { encodeRequest } from "./encode-message.ts";
import { formatError, MAX_ERRORS_KEPT, OpenflowErrorReply, type Rejection } from "./errors.ts";
import { type Frame, OpenflowDecoder } from "./frame.ts";
import type { ErrorReply, PortStatus, Reply, Request } from "./message.ts";
import { OPENFLOW_15, OpenflowProtocolError, type Version, Writer } from "./wire.ts";

/** How long a call may take, and what ends it before. */
export interface CallLimits {
  readonly deadline: Deadline;
  readonly signal?: AbortSignal;
}

interface Pending {
  readonly request: Request;
  onReply(reply: Reply): void;
  reject(error: Error): void;
}

/** Requests of consecutive xids, which OVS answers only if it rejects them. */
export class Batch implements Disposable {
  readonly firstXid: number;
  readonly requests: readonly Request[];
  readonly #rejections: Rejection[] = [];
  readonly #end: () => void;
  #count = 0;

  constructor(firstXid: number, requests: readonly Request[], end: () => void) {
    this.firstXid = firstXid;
    this.requests = requests;
    this.#end = end;
  }

  reject(xid: number, reply: ErrorReply): void {
    const request = this.requests[xid - this.firstXid];
    if (request === undefined) return;
    this.#count++;
    if (this.#rejections.length < MAX_ERRORS_KEPT) this.#rejections.push({ request, reply });
  }

  /** Throws OpenflowErrorReply if OVS rejected any of the requests. */
  assertAccepted(): void {
    if (this.#count > 0) throw new OpenflowErrorReply(this.#rejections, this.#count);
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}

const MAX_XID = 0xffffffff;
/** So much is encoded before it is written. */
const CHUNK_BYTES = 256 * 1024;

/** Matches replies and errors to requests by xid, answers echoes, and ends all waits when the socket does. */
export class OpenflowSession {
  /** Resolves with the reason when the session ends. */
  readonly closed: Promise<Error>;
  readonly portListeners = new Set<(status: PortStatus) => void>();
  readonly #socket: Socket;
  readonly #decoder = new OpenflowDecoder();
  readonly #pending = new Map<number, Pending>();
  readonly #batches = new Set<Batch>();
  readonly #waiting = new Set<(error: Error) => void>();
  readonly #agreed = Promise.withResolvers<void>();
  readonly #setClosed: (reason: Error) => void;
  #version: Version | undefined;
  #nextXid = 1;
  #reason: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.closed = promise;
    this.#setClosed = resolve;
    socket.on("data", (chunk: Buffer) => this.#decode(() => this.#decoder.push(chunk)));
    socket.on("end", () => this.#decode(() => this.#decoder.end()));
    socket.on("error", error => this.close(error));
    socket.on("close", () => this.close(new Error("OVS closed the OpenFlow connection")));
  }

  /** Agreed on with OVS: the highest that both speak. */
  get version(): Version {
    return this.#version ?? OPENFLOW_15;
  }

  /** Sends the hello and waits for OVS's. */
  async agree(limits: CallLimits): Promise<void> {
    this.post({ kind: "hello" });
    await this.#wait<void>(resolve => void this.#agreed.promise.then(resolve), limits, "the hello");
  }

  /** Sends a request whose answer is not needed. */
  post(request: Request): void {
    if (!this.#reason) this.#write(this.#encode(request, this.#takeXids(1)));
  }

  /** Sends one request. `onReply` resolves once it has all of the answer, and throws to end the session. */
  async exchange<T>(
    request: Request,
    limits: CallLimits,
    onReply: (reply: Reply, resolve: (value: T) => void) => void,
  ): Promise<T> {
    const xid = this.#takeXids(1);
    const bytes = this.#encode(request, xid);
    try {
      return await this.#wait<T>(
        (resolve, reject) => {
          this.#pending.set(xid, { request, onReply: reply => onReply(reply, resolve), reject });
          this.#write(bytes);
        },
        limits,
        `the answer to ${request.kind}`,
      );
    } finally {
      this.#pending.delete(xid);
    }
  }

  /** Collects the errors that answer these requests until it is disposed of. */
  openBatch(requests: readonly Request[]): Batch {
    const batch = new Batch(this.#takeXids(requests.length), requests, () => this.#batches.delete(batch));
    this.#batches.add(batch);
    return batch;
  }

  /** Encodes and writes the batch's requests piece by piece, no faster than OVS reads them. */
  async transmit<R extends Request>(
    { firstXid }: Batch,
    requests: readonly R[],
    encode: (writer: Writer, xid: number, request: R) => void,
    limits: CallLimits,
  ): Promise<void> {
    let writer = new Writer(this.version, CHUNK_BYTES);
    for (const [index, request] of requests.entries()) {
      encode(writer, firstXid + index, request);
      if (writer.length < CHUNK_BYTES && index < requests.length - 1) continue;
      if (this.#reason) throw this.#reason;
      const isFull = !this.#write(writer.finish());
      if (isFull) await this.#wait<void>(resolve => void this.#socket.once("drain", resolve), limits, "room to write");
      writer = new Writer(this.version, CHUNK_BYTES);
    }
  }

  close(reason: Error): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#socket.destroy();
    for (const reject of this.#waiting) reject(reason);
    this.#setClosed(reason);
  }

  /** Settles as `start` says; rejects at the deadline, when the signal aborts and when the session ends. */
  async #wait<T>(
    start: (resolve: (value: T) => void, reject: (error: Error) => void) => void,
    { deadline, signal }: CallLimits,
    what: string,
  ): Promise<T> {
    signal?.throwIfAborted();
    if (this.#reason) throw this.#reason;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    this.#waiting.add(reject);
    try {
      start(resolve, reject);
      return await deadline.race(promise, () => new Error(`waited ${deadline.timeoutMs} ms for ${what}`));
    } finally {
      this.#waiting.delete(reject);
      signal?.removeEventListener("abort", abort);
    }
  }

  #takeXids(count: number): number {
    if (this.#nextXid + count > MAX_XID) this.#nextXid = 1;
    const first = this.#nextXid;
    this.#nextXid += count;
    return first;
  }

  #encode(request: Request, xid: number): Buffer {
    const writer = new Writer(this.version, 256);
    encodeRequest(writer, xid, request);
    return writer.finish();
  }

  /** False if OVS has to read before more is written. */
  #write(bytes: Buffer): boolean {
    return this.#socket.write(bytes);
  }

  #decode(read: () => Frame[] | undefined): void {
    try {
      for (const frame of read() ?? []) if (!this.#reason) this.#dispatch(frame);
    } catch (error) {
      this.close(error as Error);
    }
  }

  #dispatch(frame: Frame): void {
    const { xid, version } = frame;
    const reply = decodeReply(frame);
    if (this.#version === undefined) this.#acceptHello(reply);
    else if (version !== this.#version)
      throw new OpenflowProtocolError(`a message has version ${version}, ${this.#version} was agreed on`);
    else if (reply.kind === "echoRequest") this.#write(this.#encode({ kind: "echoReply", data: reply.data }, xid));
    else if (reply.kind === "portStatus") for (const listener of this.portListeners) listener(reply);
    else if (reply.kind === "error") this.#reject(xid, reply);
    else this.#pending.get(xid)?.onReply(reply);
  }

  #acceptHello(reply: Reply): void {
    if (reply.kind === "error") throw new Error(formatError(reply));
    if (reply.kind !== "hello") throw new OpenflowProtocolError(`the first message is ${reply.kind}, not hello`);
    this.#version = selectVersion(reply.versions);
    if (this.#version === undefined)
      throw new Error("the bridge speaks neither OpenFlow 1.5 nor 1.4: add OpenFlow15 to its protocols");
    this.#agreed.resolve();
  }

  #reject(xid: number, reply: ErrorReply): void {
    const pending = this.#pending.get(xid);
    pending?.reject(new OpenflowErrorReply([{ request: pending.request, reply }]));
    for (const batch of this.#batches) batch.reject(xid, reply);
  }
}
