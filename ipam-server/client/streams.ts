import { type IncomingMessage, request as sendHttp } from "node:http";
import { request as sendHttps } from "node:https";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { IpamError } from "../contract/ipam-error.ts";
import { parseFailure, parseJson } from "./answers.ts";
import { createHeaders, readCredentialFile } from "./credentials.ts";
import { parseEndpoint } from "./endpoint.ts";
import { MIN_TLS_VERSION, type TransportOptions } from "./transport.ts";
import { TransportError } from "./transport-error.ts";

export interface StreamRequest {
  method: "GET" | "POST";
  path: string;
  accept: string;
  body?: { contentType: string; chunks: AsyncIterable<Uint8Array> };
  /** Ends the stream if no byte arrives for so long. */
  stallMs?: number;
  signal?: AbortSignal;
}

export interface Download {
  /** As the server declared it. */
  lengthBytes: number | undefined;
  /** Rejects with IpamError `unavailable` if the body breaks off. */
  chunks: AsyncIterable<Uint8Array>;
}

/** Opens one stream after the other, each on a new connection, so that none fails for an idle one that closes. */
export type OpenStream = (request: StreamRequest) => Promise<Download>;

/** The streams of one endpoint. Rejects with IpamError. The CNI executable never loads this. */
export function createStreams(options: TransportOptions): OpenStream {
  const { url, tokenFile, caFile, userAgent } = options;
  const { isSecure, address, basePath } = parseEndpoint(url);
  const authorize = createHeaders(tokenFile);
  return async ({ method, path, accept, body, stallMs, signal }) => {
    const ca = isSecure && caFile !== undefined ? await readCredentialFile("caFile", caFile) : undefined;
    const headers = {
      accept: `${accept}, application/problem+json`,
      ...(userAgent !== undefined && { "user-agent": userAgent }),
      ...(await authorize()),
      ...(body && { "content-type": body.contentType }),
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (isSecure ? sendHttps : sendHttp)({
      ...("path" in address ? { socketPath: address.path } : address),
      agent: false,
      method,
      path: basePath + path,
      headers,
      ...(stallMs !== undefined && { timeout: stallMs }),
      ...(signal && { signal }),
      ...(isSecure && { minVersion: MIN_TLS_VERSION, ...(ca !== undefined && { ca }) }),
    });
    request.on("response", resolve).on("error", reject);
    if (stallMs !== undefined)
      request.on("timeout", () => request.destroy(new Error(`no data for ${stallMs / 1000} s`)));
    if (body === undefined) request.end();
    // Fails as the request does, or because the source cannot be read.
    else pipeline(Readable.from(body.chunks), request).catch(reject);
    const response = await promise.catch(cause => {
      throw brokenError(url, cause, "unreachable");
    });
    const { statusCode: status = 0, headers: answered } = response;
    if (status !== 200)
      throw parseFailure(status, parseJson(await readText(url, response)), url, answered["retry-after"]);
    const length = answered["content-length"];
    return { lengthBytes: length === undefined ? undefined : Number(length), chunks: readChunks(url, response) };
  };
}

async function* readChunks(url: string, response: IncomingMessage): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response) yield chunk;
  } catch (cause) {
    throw brokenError(url, cause, "broken-off");
  }
}

function readText(url: string, response: IncomingMessage): Promise<string> {
  return text(response).catch(cause => {
    throw brokenError(url, cause, "broken-off");
  });
}

function brokenError(url: string, cause: unknown, failure: "unreachable" | "broken-off"): IpamError {
  const reason = cause instanceof Error ? cause.message || String((cause as { code?: string }).code) : String(cause);
  const what = failure === "unreachable" ? "cannot be reached" : "broke off its answer";
  return new IpamError("unavailable", `the IPAM at ${url} ${what}: ${reason}`, {
    cause: new TransportError(`${url}: ${reason}`, true, cause, failure),
  });
}
