import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { ERROR_CODES, IpamError, type Problem } from "../contract/index.ts";
import { CtlError } from "./ctl-error.ts";
import type { Settings } from "./settings.ts";

export type Method = "GET" | "PUT" | "POST" | "DELETE";

export interface Answer {
  status: number;
  /** Parsed JSON; undefined when there is none. */
  body: unknown;
}

export interface Download {
  /** Bytes, if the server said so. */
  length: number | undefined;
  /** Rejects with CtlError `unreachable` when the body breaks off. */
  chunks: AsyncIterable<Uint8Array>;
}

/** A stream that stands still for so long has broken off; copying a large database takes a while before its first byte. */
const STALL_MS = 600_000;

/** An hour: the longest deadline that the server takes note of. */
const MAX_TIMEOUT_MS = 3_600_000;

/**
 * JSON calls, one after the other, over one kept connection. Rejects with IpamError when the server says no, with
 * CtlError `unreachable` when no Mooring server answers in time.
 */
export class Transport implements Disposable {
  readonly #settings: Settings;
  readonly #agent: HttpAgent;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#agent = new (settings.server.isSecure ? HttpsAgent : HttpAgent)({ keepAlive: true, maxSockets: 1 });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async call(method: Method, path: string, body?: unknown): Promise<Answer> {
    const timeoutMs = Math.min(this.#settings.timeout, MAX_TIMEOUT_MS);
    const deadline = AbortSignal.timeout(timeoutMs);
    let answer: { status: number; text: string };
    try {
      answer = await this.#exchange(method, path, body, timeoutMs, deadline);
    } catch (cause) {
      throw this.#explainSilence(method, deadline.aborted, cause);
    }
    return this.#judge(answer.status, answer.text);
  }

  /** A body of any length, as long as it goes on. */
  async download(path: string): Promise<Download> {
    const response = await this.#open("GET", path);
    if (response.statusCode !== 200) return this.#refuse(response);
    const length = response.headers["content-length"];
    return { length: length === undefined ? undefined : Number(length), chunks: this.#read(response) };
  }

  /** Sends a body of any length. The server may answer before it has taken all of it. */
  async upload(path: string, contentType: string, chunks: AsyncIterable<Uint8Array>): Promise<Answer> {
    const response = await this.#open("POST", path, { contentType, chunks });
    return this.#judge(response.statusCode ?? 0, await text(response));
  }

  async #open(
    method: Method,
    path: string,
    body?: { contentType: string; chunks: AsyncIterable<Uint8Array> },
  ): Promise<IncomingMessage> {
    const { isSecure: secure, address, basePath } = this.#settings.server;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (secure ? httpsRequest : httpRequest)({
      ...address,
      agent: this.#agent,
      method,
      path: basePath + path,
      timeout: STALL_MS,
      ...(body && { headers: { "content-type": body.contentType } }),
    });
    request.on("response", resolve).on("error", reject);
    request.on("timeout", () => request.destroy(new Error(`nothing came for ${STALL_MS / 1000} s`)));
    if (body === undefined) request.end();
    // Its failure is the request's, or a file's that cannot be read.
    else pipeline(Readable.from(body.chunks), request).catch(reject);
    try {
      return await promise;
    } catch (cause) {
      throw this.#explainSilence(method, false, cause);
    }
  }

  async *#read(response: IncomingMessage): AsyncGenerator<Uint8Array> {
    try {
      for await (const chunk of response) yield chunk;
    } catch (cause) {
      const server = this.#settings.server.text;
      throw new CtlError("unreachable", `the answer of ${server} broke off half way`, {
        advice: "Its log may say why; try again.",
        cause,
      });
    }
  }

  async #refuse(response: IncomingMessage): Promise<never> {
    const status = response.statusCode ?? 0;
    this.#judge(status, await text(response));
    throw this.#strange(status);
  }

  async #exchange(method: Method, path: string, body: unknown, timeoutMs: number, signal: AbortSignal) {
    const { isSecure: secure, address, basePath } = this.#settings.server;
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (secure ? httpsRequest : httpRequest)({
      ...address,
      agent: this.#agent,
      method,
      path: basePath + path,
      signal,
      headers: {
        accept: "application/json, application/problem+json",
        // What still waits on the server when this side gives up is not done behind the person's back.
        "mooring-deadline-ms": timeoutMs,
        ...(payload !== undefined && {
          "content-type": "application/json",
          "content-length": Buffer.byteLength(payload),
        }),
      },
    });
    request.on("response", resolve).on("error", reject).end(payload);
    const response = await promise;
    return { status: response.statusCode ?? 0, text: await text(response) };
  }

  #judge(status: number, text: string): Answer {
    const body = text === "" ? undefined : parseJson(text);
    if (status >= 200 && status < 300 && !(body instanceof SyntaxError)) return { status, body };
    if (isProblem(body)) throw IpamError.fromProblem(body);
    throw this.#strange(status);
  }

  #strange(status: number): CtlError {
    const server = this.#settings.server.text;
    return new CtlError("unreachable", `${server} answered HTTP ${status}, but not as a Mooring IPAM does`, {
      advice: "Check that --server (or MOORING_SERVER) names the IPAM and not another service or a proxy.",
    });
  }

  #explainSilence(method: Method, late: boolean, cause: unknown): CtlError {
    const { server, timeout } = this.#settings;
    const doubt = method === "GET" ? "" : "; the change may have been made: the same command can safely be run again";
    if (late) {
      return new CtlError("unreachable", `${server.text} gave no answer within ${timeout} ms${doubt}`, {
        advice: "Give it longer with --timeout, or look at the server: mooringctl status.",
        cause,
      });
    }
    return new CtlError("unreachable", `cannot reach the IPAM at ${server.text}: ${describeFault(cause)}`, {
      advice: "Check that it runs, and that --server, MOORING_SERVER or the configuration file names it.",
      cause,
    });
  }
}

/** For `localhost` Node tries several addresses, and each failure has its own message. */
function describeFault(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describeFault).join("; ");
  return error instanceof Error ? error.message : String(error);
}

/** @returns the SyntaxError for what is no JSON. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return error;
    throw error;
  }
}

function isProblem(body: unknown): body is Problem {
  if (typeof body !== "object" || body === null || !("code" in body) || !("detail" in body)) return false;
  return typeof body.detail === "string" && typeof body.code === "string" && Object.hasOwn(ERROR_CODES, body.code);
}
