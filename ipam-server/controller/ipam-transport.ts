import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { text } from "node:stream/consumers";
import { ERROR_CODES, IpamError, type Problem } from "../contract/index.ts";

export interface IpamTransportOptions {
  /** `http://HOST:PORT` or `https://HOST:PORT`. */
  server: string;
  /** PEM; absent: the system's authorities. */
  ca?: string;
  /** Asked before every call, because a service account's token changes under way. */
  readToken?(): Promise<string | undefined>;
  timeoutMs?: number;
}

/** JSON over kept connections. Every failure rejects with IpamError; no answer is `unavailable`. */
export class IpamTransport implements Disposable {
  readonly #options: IpamTransportOptions;
  readonly #secure: boolean;
  readonly #agent: HttpAgent | HttpsAgent;
  readonly #base: string;

  constructor(options: IpamTransportOptions) {
    this.#options = options;
    this.#base = options.server.replace(/\/+$/, "");
    this.#secure = this.#base.startsWith("https:");
    this.#agent = this.#secure
      ? new HttpsAgent({
          keepAlive: true,
          maxSockets: 32,
          minVersion: "TLSv1.3",
          ...(options.ca && { ca: options.ca }),
        })
      : new HttpAgent({ keepAlive: true, maxSockets: 32 });
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async call(method: "GET" | "POST" | "DELETE", path: string, body?: unknown, signal?: AbortSignal): Promise<unknown> {
    const timeout = AbortSignal.timeout(this.#options.timeoutMs ?? 10_000);
    const both = signal ? AbortSignal.any([signal, timeout]) : timeout;
    const response = await this.#open(method, path, "application/json", body, both);
    const content = await text(response).catch(error => {
      throw this.#silent(error);
    });
    return this.#accept(response, content);
  }

  /** The body of an event stream, which has no deadline but the signal. */
  async stream(path: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
    const response = await this.#open("GET", path, "text/event-stream", undefined, signal);
    if (response.statusCode !== 200) this.#accept(response, await text(response));
    return response;
  }

  async #open(
    method: string,
    path: string,
    accept: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const token = await this.#options.readToken?.();
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      accept: `${accept}, application/problem+json`,
      ...(payload !== undefined && { "content-type": "application/json" }),
      ...(token && { authorization: `Bearer ${token}` }),
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const open = this.#secure ? httpsRequest : httpRequest;
    open(this.#base + path, { method, headers, agent: this.#agent, signal })
      .on("response", resolve)
      .on("error", error => reject(this.#silent(error)))
      .end(payload);
    return promise;
  }

  #accept(response: IncomingMessage, content: string): unknown {
    const body = parse(content);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300 && body !== undefined) return body;
    if (isProblem(body)) throw IpamError.fromProblem(body);
    throw new IpamError("unavailable", `${this.#base} answered HTTP ${status}, but not as a Mooring IPAM`);
  }

  #silent(cause: unknown): IpamError {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new IpamError("unavailable", `The IPAM at ${this.#base} gave no answer: ${why}`, { cause });
  }
}

function parse(content: string): unknown {
  try {
    return JSON.parse(content);
  } catch {
    return undefined; // Judged by the caller, who knows the status.
  }
}

function isProblem(body: unknown): body is Problem {
  if (typeof body !== "object" || body === null || !("code" in body) || !("detail" in body)) return false;
  return typeof body.detail === "string" && typeof body.code === "string" && Object.hasOwn(ERROR_CODES, body.code);
}
