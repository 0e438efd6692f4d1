import { readFile } from "node:fs/promises";
import { Agent, type ClientRequest, type RequestOptions, request as requestHttp } from "node:http";
import { IpamError } from "../ipam-server/contract/ipam-error.ts";

export interface HttpAnswer {
  status: number;
  body: string;
}

/** One HTTP exchange at a time over kept-alive connections; knows nothing of what is said. */
export interface Transport extends AsyncDisposable {
  /** Rejects with TransportError; aborting `signal` ends the exchange. */
  exchange(method: string, path: string, body: string | undefined, signal: AbortSignal): Promise<HttpAnswer>;
}

/** The exchange did not end with an answer. */
export class TransportError extends Error {
  override readonly name = "TransportError";
  /** False when the server surely has not seen the request. */
  readonly maybeReceived: boolean;

  constructor(message: string, maybeReceived: boolean, cause: unknown) {
    super(message, { cause });
    this.maybeReceived = maybeReceived;
  }
}

/** A page of ports is far below this; whatever is larger does not come from an IPAM. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

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
  /** Holds the bearer token; read anew for each transport, because tokens rotate. */
  tokenFile?: string;
  /** PEM of the authorities to trust; https only. */
  caFile?: string;
}

/** Rejects with IpamError when a file cannot be read: to ask again would not help. */
export async function openTransport({ url, tokenFile, caFile }: TransportOptions): Promise<Transport> {
  const token = tokenFile === undefined ? undefined : await readText("tokenFile", tokenFile);
  const headers = token === undefined ? {} : { authorization: `Bearer ${token.trim()}` };
  if (url.startsWith("unix:")) {
    const agent = new Agent({ keepAlive: true });
    const target = { agent, headers, socketPath: url.slice("unix:".length), host: "localhost" };
    return createTransport(requestHttp, target, agent, url);
  }
  const { protocol, hostname, port } = new URL(url);
  const target = { headers, host: hostname.replace(/^\[|\]$/g, ""), ...(port !== "" && { port }) };
  if (protocol === "http:") {
    const agent = new Agent({ keepAlive: true });
    return createTransport(requestHttp, { ...target, agent }, agent, url);
  }
  const ca = caFile === undefined ? undefined : await readText("caFile", caFile);
  const https = await import("node:https");
  const agent = new https.Agent({ keepAlive: true, minVersion: "TLSv1.3", ...(ca !== undefined && { ca }) });
  return createTransport(https.request, { ...target, agent }, agent, url);
}

async function readText(key: string, path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const message = `"${key}" cannot be read: ${why}`;
    throw new IpamError("unavailable", message, { cause: new TransportError(message, false, cause) });
  }
}

function createTransport(
  request: (options: RequestOptions) => ClientRequest,
  target: RequestOptions,
  agent: Agent,
  url: string,
): Transport {
  return {
    async exchange(method, path, body, signal) {
      const bytes = body === undefined ? undefined : Buffer.from(body);
      const outgoing = request({
        ...target,
        method,
        path,
        signal,
        headers: {
          ...target.headers,
          accept: "application/json",
          ...(bytes !== undefined && { "content-type": "application/json", "content-length": bytes.length }),
        },
      });
      return receive(outgoing, bytes, url);
    },
    async [Symbol.asyncDispose]() {
      agent.destroy();
    },
  };
}

function receive(outgoing: ClientRequest, bytes: Buffer | undefined, url: string): Promise<HttpAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  let connected = false;
  const fail = (error: Error & { code?: string }) => {
    const maybeReceived = connected && !NEVER_SENT.has(error.code ?? "");
    reject(new TransportError(`${url}: ${error.message}`, maybeReceived, error));
  };
  outgoing.on("error", fail);
  outgoing.on("socket", socket => {
    if (!socket.connecting) connected = true;
    else socket.once("connect", () => (connected = true));
  });
  outgoing.on("response", incoming => {
    const chunks: Buffer[] = [];
    let size = 0;
    incoming.on("error", fail);
    incoming.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) outgoing.destroy(new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`));
    });
    incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
  });
  outgoing.end(bytes);
  return promise;
}

/** True when a failed request may nevertheless have been carried out. */
export function mayHaveBeenCarriedOut(error: unknown): boolean {
  if (!(error instanceof IpamError)) return true;
  if (error.cause instanceof TransportError) return error.cause.maybeReceived;
  return error.code === "internal" || error.code === "unavailable";
}
