import { unlink } from "node:fs/promises";
import { createServer, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from "node:http";
import { connect, type Socket } from "node:net";
import { IpamError } from "../contract/index.ts";

const CLOSE_TIMEOUT_MS = 500;

interface HttpServerOptions {
  listen: { type: "tcp"; host: string; port: number } | { type: "unix"; path: string };
  /** How long a client may take to send one request, head and body. */
  requestTimeoutMs: number;
  /** How long requests in progress may take once the server stops. */
  drainMs: number;
  onConnection?(): void;
}

/**
 * Pending connections the kernel queues (bounded by `net.core.somaxconn`). When all agents of a zone reconnect at once,
 * those beyond Node's default of 511 would wait for TCP retries, which takes seconds.
 */
const BACKLOG = 4096;

/**
 * Listens, and when disposed completes the requests in progress before it closes. Meanwhile it still answers new
 * requests, which the pipeline rejects with `unavailable`.
 */
export class HttpServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #options: HttpServerOptions;
  readonly #serving = new Set<ServerResponse>();
  #isDraining = false;
  #onServed: (() => void) | undefined;

  private constructor(listener: RequestListener, options: HttpServerOptions) {
    this.#options = options;
    const { requestTimeoutMs } = options;
    const limits = {
      requestTimeout: requestTimeoutMs,
      headersTimeout: Math.min(requestTimeoutMs, 10_000),
      connectionsCheckingInterval: Math.min(1000, requestTimeoutMs),
      // Longer than the usual 60 s of proxies and clients, so that they close idle connections first.
      keepAliveTimeout: 75_000,
      maxHeaderSize: 16 * 1024,
    };
    this.#server = createServer(limits, (request, response) => {
      if (this.#isDraining) response.shouldKeepAlive = false;
      else this.#serve(response);
      listener(request, response);
    });
    this.#server.on("clientError", rejectBrokenRequest);
    this.#server.on("connection", () => options.onConnection?.());
  }

  static async listen(listener: RequestListener, options: HttpServerOptions): Promise<HttpServer> {
    const server = new HttpServer(listener, options);
    const { listen } = options;
    if (listen.type === "unix") await removeDeadSocket(listen.path);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.#server.once("error", reject);
    server.#server.listen(
      listen.type === "unix" ? { path: listen.path } : { host: listen.host, port: listen.port, backlog: BACKLOG },
      resolve,
    );
    await promise;
    return server;
  }

  /** The URL for clients, with the actual port if port 0 was configured. */
  get url(): string {
    const { listen } = this.#options;
    if (listen.type === "unix") return `unix:${listen.path}`;
    return `http://${listen.host.includes(":") ? `[${listen.host}]` : listen.host}:${this.port}`;
  }

  get port(): number | undefined {
    const address = this.#server.address();
    return typeof address === "object" ? address?.port : undefined;
  }

  #serve(response: ServerResponse): void {
    this.#serving.add(response);
    response.on("close", () => {
      this.#serving.delete(response);
      if (this.#serving.size === 0) this.#onServed?.();
    });
  }

  /** Waits up to `drainMs` for requests in progress, then closes every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDraining = true;
    for (const response of this.#serving) if (!response.headersSent) response.shouldKeepAlive = false;
    const { promise: served, resolve } = Promise.withResolvers<void>();
    const late = setTimeout(resolve, this.#options.drainMs);
    if (this.#serving.size === 0) resolve();
    else this.#onServed = resolve;
    await served;
    clearTimeout(late);
    const closed = new Promise<void>(done => this.#server.close(() => done()));
    // A connection becomes idle only after its last answer was sent.
    const sweep = setInterval(() => this.#server.closeIdleConnections(), 20);
    const cut = setTimeout(() => this.#server.closeAllConnections(), CLOSE_TIMEOUT_MS);
    await closed;
    clearInterval(sweep);
    clearTimeout(cut);
  }
}

/** Removes the socket of a crashed server. Throws if a server still answers on it. */
async function removeDeadSocket(path: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const probe = connect(path, () => resolve(true)).on("error", () => resolve(false));
  const answers = await promise;
  probe.destroy();
  if (answers) throw new Error(`--listen unix:${path}: another server answers there`);
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
}

const BROKEN: Record<string, { status: number; detail: string }> = {
  HPE_HEADER_OVERFLOW: { status: 431, detail: "the request's head is larger than 16 KiB" },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, detail: "the request took too long to arrive" },
};

/** Sends a problem for a request that is not HTTP or incomplete, then closes the connection. */
function rejectBrokenRequest(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const { status, detail } = BROKEN[error.code ?? ""] ?? { status: 400, detail: `this is not HTTP: ${error.message}` };
  const body = JSON.stringify(new IpamError("invalid_request", detail, { status }).toProblem());
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    "Connection: close",
    "Content-Type: application/problem+json",
  ];
  socket.end(`${head.join("\r\n")}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}
