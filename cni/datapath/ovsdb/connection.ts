import type { Socket } from "node:net";
import type { Deadline } from "../deadline.ts";
import { encodeJson, type JsonObject, OvsdbDecoder, OvsdbProtocolError } from "./codec.ts";

/** The server's `error` member: it rejected the request. */
export class OvsdbErrorReply extends Error {
  override readonly name = "OvsdbRefusal";
}

type UpdateListener = (update: unknown) => void;

interface Pending {
  resolve(result: unknown): void;
  reject(error: Error): void;
}

/** One session: matches replies to requests by id, answers echoes, passes updates to their monitors. */
export class OvsdbConnection {
  readonly #socket: Socket;
  readonly #decoder = new OvsdbDecoder();
  readonly #pending = new Map<number, Pending>();
  readonly #monitors = new Map<string, { listener: UpdateListener; fail(error: Error): void }>();
  readonly #onClose: (error: Error) => void;
  #nextId = 0;
  #closed: Error | undefined;

  /** `socket` is connected; `onClose` is called once, for any end of the session. */
  constructor(socket: Socket, onClose: (error: Error) => void) {
    this.#socket = socket;
    this.#onClose = onClose;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", error => this.close(error));
    socket.on("close", () => this.close(new Error("the OVSDB server closed the connection")));
  }

  async request(method: string, params: unknown[], deadline: Deadline): Promise<unknown> {
    if (this.#closed) throw this.#closed;
    const id = ++this.#nextId;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#pending.set(id, { resolve, reject });
    this.#gatherWrites();
    this.#socket.write(encodeJson({ method, params, id }));
    try {
      return await deadline.race(promise, () => new Error(`no answer to ${method} within ${deadline.timeoutMs} ms`));
    } finally {
      this.#pending.delete(id);
    }
  }

  /** Passes updates of this monitor to `listener`, and the session's end to `fail`. Returns the undo function. */
  onUpdate(monitorId: string, listener: UpdateListener, fail: (error: Error) => void): () => void {
    this.#monitors.set(monitorId, { listener, fail });
    return () => this.#monitors.delete(monitorId);
  }

  close(reason: Error): void {
    if (this.#closed) return;
    this.#closed = reason;
    this.#socket.destroy();
    for (const pending of this.#pending.values()) pending.reject(reason);
    for (const monitor of this.#monitors.values()) monitor.fail(reason);
    this.#onClose(reason);
  }

  /** Sends the requests of one turn of the event loop in one write, so that the server wakes once. */
  #gatherWrites(): void {
    if (this.#socket.writableCorked > 0) return;
    this.#socket.cork();
    setImmediate(() => this.#socket.uncork());
  }

  #receive(chunk: Buffer): void {
    try {
      for (const message of this.#decoder.push(chunk)) this.#dispatch(message);
    } catch (error) {
      this.close(error as Error);
    }
  }

  #dispatch(message: JsonObject): void {
    const { id, method, params, result, error } = message;
    if (method === "echo") this.#socket.write(encodeJson({ id, result: params, error: null }));
    else if (method === "update" || method === "update2") {
      if (!Array.isArray(params)) throw new OvsdbProtocolError(`${method} without params`);
      this.#monitors.get(String(params[0]))?.listener(params[1]);
    } else if (method === undefined && typeof id === "number") {
      const pending = this.#pending.get(id);
      if (error === null || error === undefined) pending?.resolve(result);
      else pending?.reject(new OvsdbErrorReply(describe(error)));
    }
    // Ignores other messages, as RFC 7047 allows for later protocol versions.
  }
}

function describe(error: unknown): string {
  if (typeof error !== "object" || error === null) return String(error);
  const { error: what, details } = error as { error?: unknown; details?: unknown };
  return details === undefined ? String(what) : `${what}: ${details}`;
}
