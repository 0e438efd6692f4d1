import { connect, isIP, type Socket } from "node:net";
import { createHeaders, readCredentialFile } from "./credentials.ts";
import { AnswerParser, formatRequest, type HttpAnswer } from "./http-codec.ts";
import { TransportError } from "./transport-error.ts";

/** HTTP exchanges over kept connections, one at a time on each; knows nothing of what is said. */
export interface Transport extends AsyncDisposable {
  /** Rejects with TransportError; aborting `signal` ends the exchange. The server is told how long the answer is waited for. */
  exchange(
    method: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
    timeoutMs?: number,
  ): Promise<HttpAnswer>;
}

/** Errors of the connection itself, before any byte was sent. */
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

export interface TransportOptions {
  /** `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`. */
  url: string;
  /** Holds the bearer token; read again and again, because tokens rotate. */
  tokenFile?: string;
  /** PEM of the authorities to trust; https only. */
  caFile?: string;
}

/** Rejects with IpamError when a file cannot be read: to ask again would not help. */
export async function openTransport({ url, tokenFile, caFile }: TransportOptions): Promise<Transport> {
  const headers = createHeaders(tokenFile);
  await headers();
  const place = (host: string, dial: () => Socket, readyEvent: Endpoint["readyEvent"] = "connect") =>
    new SocketTransport({ url, host, headers, dial, readyEvent });
  if (url.startsWith("unix:")) return place("localhost", () => connect({ path: url.slice("unix:".length) }));

  const { protocol, host: authority, hostname, port } = new URL(url);
  const host = hostname.replace(/^\[|\]$/g, "");
  if (protocol === "http:") return place(authority, () => connect({ host, port: Number(port || 80), noDelay: true }));

  const ca = caFile === undefined ? undefined : await readCredentialFile("caFile", caFile);
  const tls = await import("node:tls");
  const options = { host, port: Number(port || 443), minVersion: "TLSv1.3", ALPNProtocols: ["http/1.1"] } as const;
  // An address is no server name (RFC 6066, section 3); the certificate is held against it all the same.
  const name = isIP(host) === 0 ? { servername: host } : {};
  return place(authority, () => tls.connect({ ...options, ...name, ...(ca !== undefined && { ca }) }), "secureConnect");
}

interface Endpoint {
  url: string;
  host: string;
  headers: () => Promise<Record<string, string>>;
  dial: () => Socket;
  /** When the first byte of a request can have left. */
  readyEvent: "connect" | "secureConnect";
}

class SocketTransport implements Transport {
  readonly #place: Endpoint;
  readonly #idle = new Set<Socket>();
  /** When any connection brought an answer last; by performance.now(). */
  #answeredAt = 0;

  constructor(place: Endpoint) {
    this.#place = place;
  }

  async exchange(
    method: string,
    path: string,
    body: string | undefined,
    signal: AbortSignal,
    timeoutMs?: number,
  ): Promise<HttpAnswer> {
    const { url, host, readyEvent } = this.#place;
    const deadline = timeoutMs !== undefined && { "mooring-deadline-ms": String(Math.max(1, Math.floor(timeoutMs))) };
    const headers = { ...(await this.#place.headers()), ...deadline };
    if (signal.aborted) throw new TransportError(`${url}: the call was ended`, false, signal.reason);
    const [kept] = this.#idle;
    if (kept !== undefined) this.#idle.delete(kept);
    const socket = kept ?? this.#dial();
    const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
    const parser = new AnswerParser();
    let connected = kept !== undefined;
    const startedAt = performance.now();
    const fail = (error: Error & { code?: string }) => {
      const maybeReceived = connected && !NEVER_SENT.has(error.code ?? "");
      // A server that is gone without a word leaves all connections dead: none of them shall cost the next call its time.
      // One that has answered another meanwhile is only slow, and would be slower still for greeting everybody anew.
      if (this.#answeredAt < startedAt) for (const other of this.#idle) this.#drop(other);
      // When a name has several addresses, the error of them all has no message of its own.
      reject(new TransportError(`${url}: ${error.message || error.code}`, maybeReceived, error));
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
      connected = true;
    };
    const onData = (bytes: Buffer) => attempt(() => parser.push(bytes));
    const onEnd = () => attempt(() => parser.end());
    const onAbort = () => fail(new Error("the call was ended"));
    socket.on(readyEvent, onConnect).on("data", onData).on("end", onEnd).on("close", onEnd).on("error", fail);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.write(formatRequest({ method, path, host, headers, ...(body !== undefined && { body }) }));
    try {
      const answer = await promise;
      this.#answeredAt = performance.now();
      if (answer.reusable) this.#idle.add(socket);
      else socket.destroy();
      return answer;
    } finally {
      signal.removeEventListener("abort", onAbort);
      socket.off(readyEvent, onConnect).off("data", onData).off("end", onEnd).off("close", onEnd).off("error", fail);
    }
  }

  /** While a connection is kept idle, the server ends it in its own time and says nothing unasked. */
  #dial(): Socket {
    const socket = this.#place.dial();
    for (const event of ["end", "close", "data"]) socket.on(event, () => this.#drop(socket));
    // Told to whoever waits; when nobody does, the connection is just gone.
    socket.on("error", () => this.#drop(socket));
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
