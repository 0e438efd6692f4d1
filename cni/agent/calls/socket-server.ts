import { randomBytes } from "node:crypto";
import { chmod, mkdir, rename, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import type { Answer, Call } from "../../dispatch.ts";
import { CallCodec, formatAnswer, type Received } from "./call-codec.ts";

interface SocketServerOptions {
  path: string;
  /** Must not reject. */
  answer(call: Call, callerGone: AbortSignal): Promise<Answer>;
  /** Closes a connection without a complete call after this time. Default 10000. */
  idleTimeoutMs?: number;
}

/** A node has a few hundred pods, each with one call at a time. */
const MAX_CONNECTIONS = 2048;

/** Serves the executable's calls on a unix socket of mode 0600. */
export class SocketServer implements AsyncDisposable {
  readonly #options: SocketServerOptions;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();

  private constructor(options: SocketServerOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true }, socket => this.#serve(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /**
   * Binds under another name and renames it into place, so that callers always find the previous agent or this one, and
   * never a socket with a wider mode. Leaves the file on disposal, because it may be the next agent's.
   */
  static async start(options: SocketServerOptions): Promise<SocketServer> {
    const { path } = options;
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    const draft = `${path}.${randomBytes(4).toString("hex")}`;
    const server = new SocketServer(options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.#server.once("error", reject);
    server.#server.listen(draft, resolve);
    await promise;
    try {
      await chmod(draft, 0o600);
      await rename(draft, path);
    } catch (error) {
      server.#server.close();
      await rm(draft, { force: true });
      throw error;
    }
    return server;
  }

  get isServing(): boolean {
    return this.#server.listening;
  }

  /** Accepts no more connections. Running calls are answered. */
  stopAccepting(): void {
    this.#server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#connections) socket.destroy();
  }

  #serve(socket: Socket): void {
    this.#connections.add(socket);
    const gone = new AbortController();
    const codec = new CallCodec();
    let isComplete = false;
    const onBytes = (bytes: Buffer) => {
      if (isComplete) return;
      const received = codec.push(bytes);
      if (received === undefined) return;
      isComplete = true;
      socket.setTimeout(0);
      void this.#answer(received, gone.signal).then(line => socket.end(line));
    };
    socket.setTimeout(this.#options.idleTimeoutMs ?? 10_000, () => socket.destroy());
    socket.on("data", onBytes);
    socket.on("end", () => {
      // After a complete call, the end of its stream is the only sign that the caller is gone.
      if (isComplete) gone.abort(new Error("the caller hung up"));
      // Terminates an unfinished line, so that the caller gets an error.
      else onBytes(Buffer.from("\n"));
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      this.#connections.delete(socket);
      gone.abort(new Error("the caller hung up"));
    });
  }

  async #answer(received: Received, callerGone: AbortSignal): Promise<string> {
    if (received.kind === "refused") return formatAnswer(received.answer);
    return formatAnswer(await this.#options.answer(received.call, callerGone));
  }
}
