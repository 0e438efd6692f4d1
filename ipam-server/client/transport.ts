import { connect, isIP, type Socket } from "node:net";
import { createHeaders, readCredentialFile } from "./credentials.ts";
import { type Endpoint, parseEndpoint } from "./endpoint.ts";
import { AnswerParser, formatRequest, type HttpAnswer } from "./http-codec.ts";
import { TransportError } from "./transport-error.ts";

export interface Request {
  method: string;
  path: string;
  /** JSON. */
  body?: string;
}

/** HTTP exchanges over keep-alive connections, one exchange at a time on each. */
export interface Transport extends AsyncDisposable {
  /**
   * Rejects with TransportError, also when `signal` aborts. The server receives `timeoutMs` as the deadline. Sends again
   * if the server closes an idle connection just as it is reused, so requests must be idempotent.
   */
  exchange(request: Request, signal: AbortSignal, timeoutMs?: number): Promise<HttpAnswer>;
}

export interface TransportOptions {
  /** `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`. */
  url: string;
  /** Holds the bearer token; read again as it rotates. */
  tokenFile?: string;
  /** PEM of the authorities to trust, read at each connection, because it rotates; https only. */
  caFile?: string;
  userAgent?: string;
}

/** TLS 1.3 is the least that client and server of one release share. */
export const MIN_TLS_VERSION = "TLSv1.3";

/** Errors of a connection before any byte was sent. */
const NEVER_SENT = new Set([
  "ECONNREFUSED",
  "ENOENT",
  "EACCES",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EINVAL",
]);

/** Rejects with IpamError if the token or CA file cannot be read. */
export async function openTransport({ url, tokenFile, caFile, userAgent }: TransportOptions): Promise<Transport> {
  const endpoint = parseEndpoint(url);
  const authorize = createHeaders(tokenFile);
  await authorize();
  const agent = userAgent === undefined ? {} : { "user-agent": userAgent };
  const headers = async () => ({ ...(await authorize()), ...agent });
  const { address } = endpoint;
  if ("path" in address) return new SocketTransport({ endpoint, headers, dial: () => connect(address) });
  if (!endpoint.isSecure)
    return new SocketTransport({ endpoint, headers, dial: () => connect({ ...address, noDelay: true }) });

  const readCa = async () => caFile !== undefined && { ca: await readCredentialFile("caFile", caFile) };
  await readCa();
  const tls = await import("node:tls");
  const options = { ...address, minVersion: MIN_TLS_VERSION, ALPNProtocols: ["http/1.1"] } as const;
  // An IP address is not allowed as server name (RFC 6066, section 3); the certificate is checked against it anyway.
  const name = isIP(address.host) === 0 ? { servername: address.host } : {};
  const dial = async () => tls.connect({ ...options, ...name, ...(await readCa()) });
  return new SocketTransport({ endpoint, headers, dial });
}

interface Dialer {
  endpoint: Endpoint;
  headers: () => Promise<Record<string, string>>;
  dial: () => Socket | Promise<Socket>;
}

class SocketTransport implements Transport {
  readonly #dialer: Dialer;
  readonly #idle = new Set<Socket>();
  /** By performance.now(). */
  #lastAnswerAt = 0;

  constructor(dialer: Dialer) {
    this.#dialer = dialer;
  }

  async exchange(request: Request, signal: AbortSignal, timeoutMs?: number): Promise<HttpAnswer> {
    const deadline = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
    const headers = await this.#dialer.headers();
    const [kept] = this.#idle;
    if (kept === undefined) return this.#send(await this.#dial(signal), false, request, headers, signal, deadline);
    this.#idle.delete(kept);
    try {
      return await this.#send(kept, true, request, headers, signal, deadline);
    } catch (error) {
      if (!(error instanceof ClosedIdleError)) throw error;
    }
    try {
      return await this.#send(await this.#dial(signal), false, request, headers, signal, deadline);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      // The closed connection may have delivered the request.
      throw new TransportError(error.message, true, error.cause, error.failure);
    }
  }

  async #send(
    socket: Socket,
    isReused: boolean,
    { method, path, body }: Request,
    headers: Record<string, string>,
    signal: AbortSignal,
    deadline: number | undefined,
  ): Promise<HttpAnswer> {
    const { url, authority, basePath, isSecure } = this.#dialer.endpoint;
    const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
    const parser = new AnswerParser();
    let isConnected = isReused;
    let hasAnswerStarted = false;
    const startedAt = performance.now();
    const fail = (error: Error & { code?: string }) => {
      const maybeReceived = isConnected && !NEVER_SENT.has(error.code ?? "");
      // A dead server leaves all connections dead, so the next call should not try them. A server that has answered
      // another exchange meanwhile is only slow: its connections stay.
      if (this.#lastAnswerAt < startedAt) for (const other of this.#idle) this.#drop(other);
      // The error for a name with several addresses has no message, only a code.
      const message = `${url}: ${error.message || error.code}`;
      const isClosedIdle = isReused && !hasAnswerStarted && !signal.aborted;
      reject(isClosedIdle ? new ClosedIdleError(message) : new TransportError(message, maybeReceived, error));
      socket.destroy();
    };
    const attempt = (read: () => HttpAnswer | undefined) => {
      try {
        const answer = read();
        if (answer !== undefined) resolve(answer);
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)));
      }
    };
    const onConnect = () => {
      isConnected = true;
    };
    const onData = (bytes: Buffer) => {
      hasAnswerStarted = true;
      attempt(() => parser.push(bytes));
    };
    const onEnd = () => attempt(() => parser.end());
    const onAbort = () => fail(new Error("the call was ended"));
    const readyEvent = isSecure ? "secureConnect" : "connect";
    socket.on(readyEvent, onConnect).on("data", onData).on("end", onEnd).on("close", onEnd).on("error", fail);
    signal.addEventListener("abort", onAbort, { once: true });
    const remainingMs = deadline === undefined ? undefined : Math.max(1, Math.floor(deadline - performance.now()));
    const allHeaders = remainingMs === undefined ? headers : { ...headers, "mooring-deadline-ms": String(remainingMs) };
    const bytes = { method, path: basePath + path, host: authority, headers: allHeaders };
    socket.write(formatRequest(body === undefined ? bytes : { ...bytes, body }));
    // A reused connection may have closed before the listeners were attached.
    if (socket.destroyed) fail(new Error("the connection was closed"));
    try {
      const answer = await promise;
      this.#lastAnswerAt = performance.now();
      if (answer.reusable) this.#idle.add(socket);
      else socket.destroy();
      return answer;
    } finally {
      signal.removeEventListener("abort", onAbort);
      socket.off(readyEvent, onConnect).off("data", onData).off("end", onEnd).off("close", onEnd).off("error", fail);
    }
  }

  async #dial(signal: AbortSignal): Promise<Socket> {
    const { endpoint, dial } = this.#dialer;
    if (signal.aborted) throw new TransportError(`${endpoint.url}: the call was ended`, false, signal.reason);
    const socket = await dial();
    // An idle connection that the server closes, or sends to unasked, is not reused. An error there has no other listener.
    for (const event of ["end", "close", "data", "error"]) socket.on(event, () => this.#drop(socket));
    return socket;
  }

  #drop(socket: Socket): void {
    if (this.#idle.delete(socket)) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#idle) socket.destroy();
    this.#idle.clear();
  }
}

/** The server closed a reused connection before it answered: the same request on a new connection is safe. */
class ClosedIdleError extends Error {
  override readonly name = "ClosedIdleError";
}
