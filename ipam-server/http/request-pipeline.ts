import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "pino";
import type { z } from "zod";
import { IpamError } from "../contract/index.ts";
import type { Action, Caller } from "../domain/model/caller.ts";
import type { ReadQueue } from "../engine/read-queue.ts";
import { readJson } from "./body.ts";
import type { Operation } from "./operation.ts";
import { sendProblem, sendReply } from "./reply.ts";
import { pathText, validate } from "./validate.ts";

export const MAX_BODY_BYTES = 1024 * 1024;
/** The reason given to requests and streams while the server stops. */
export const STOPPING = "the server is stopping";
const MAX_TIMEOUT_MS = 3_600_000;
const LIVENESS = "/healthz";

export interface RequestPipeline {
  /** Returns the caller if it may do the action. Throws `unauthenticated` or `forbidden`. */
  admit(request: IncomingMessage, action: Action): Caller;
  /** Aborted when the server stops: requests in progress are completed, new ones are rejected. */
  stopping: AbortSignal;
  reads: Readonly<Record<"short" | "long", ReadQueue>>;
  log: Logger;
  onAnswer(route: string, method: string, status: number, milliseconds: number): void;
}

/** Serves one request: admits, validates, handles and answers it. Never rejects. */
export async function execute(
  pipeline: RequestPipeline,
  operation: Operation,
  params: Record<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const startedAt = performance.now();
  try {
    if (pipeline.stopping.aborted && operation.path !== LIVENESS) {
      throw new IpamError("unavailable", `${STOPPING}; use another server, or retry in a moment`, {
        retryAfterSeconds: 1,
      });
    }
    const caller = pipeline.admit(request, operation.action);
    const deadline = startedAt + decodeTimeout(request);
    const call = {
      caller,
      params: decodeParams(operation, params),
      query: decodeQuery(operation.query, request.url ?? ""),
      body: operation.body && validate(operation.body, await readJson(request, MAX_BODY_BYTES)),
      request,
    };
    const timeoutMs = deadline - performance.now();
    const handle = () => operation.handle({ ...call, timeoutMs });
    const waiter = { timeoutMs, isGone: () => response.destroyed };
    const reply = await (operation.read ? pipeline.reads[operation.read].run(handle, waiter) : handle());
    if ("stream" in reply) await reply.stream(response);
    else sendReply(response, reply);
  } catch (error) {
    sendFailure(pipeline.log, error, response);
  }
  pipeline.onAnswer(operation.path, operation.method, response.statusCode, performance.now() - startedAt);
}

/** Sends the problem document. An internal error is logged with its stack and sent without details. */
export function sendFailure(log: Logger, error: unknown, response: ServerResponse): void {
  const failure = IpamError.from(error);
  if (failure.code !== "internal") {
    sendProblem(response, failure);
    return;
  }
  const { method, url } = response.req;
  log.error({ err: error, method, url }, "request failed");
  sendProblem(response, new IpamError("internal", "internal error; see the server's log"));
}

function decodeParams({ params: schemas = {} }: Operation, params: Record<string, string>): Record<string, string> {
  for (const [name, schema] of Object.entries(schemas)) validate(schema, params[name], name);
  return params;
}

/**
 * Converts query parameters to the schema's types: numbers, and comma-separated or repeated lists. Throws
 * `invalid_request`.
 */
function decodeQuery(schema: z.ZodObject | undefined, url: string): unknown {
  const start = url.indexOf("?");
  if (start === -1 && schema === undefined) return {};
  const query: Record<string, unknown> = {};
  const search = new URLSearchParams(start === -1 ? "" : url.slice(start + 1));
  for (const key of new Set(search.keys())) {
    const type = typeOf(schema?.shape[key]);
    const texts = search.getAll(key);
    if (type !== "array" && texts.length > 1) {
      const field = pathText("", [key]);
      throw new IpamError("invalid_request", `${field}: is given ${texts.length} times; give it once`, { field });
    }
    const [text = ""] = texts;
    if (type === "array") query[key] = texts.flatMap(each => each.split(","));
    else query[key] = type === "number" && /^\d{1,16}$/.test(text) ? Number(text) : text;
  }
  if (schema !== undefined) return validate(schema, query);
  const [key] = Object.keys(query);
  if (key === undefined) return {};
  const unknown = pathText("", [key]);
  throw new IpamError("invalid_request", `${unknown}: unknown parameter; this call accepts none`, { field: unknown });
}

function typeOf(schema: unknown): string | undefined {
  const def = (schema as { def?: { type: string; innerType?: unknown } } | undefined)?.def;
  return def?.innerType === undefined ? def?.type : typeOf(def.innerType);
}

function decodeTimeout({ headers }: IncomingMessage): number {
  const text = headers["mooring-deadline-ms"];
  if (text === undefined) return Number.POSITIVE_INFINITY;
  const ms = Number(text);
  if (typeof text === "string" && /^\d+$/.test(text) && ms >= 1 && ms <= MAX_TIMEOUT_MS) return ms;
  const detail = `Mooring-Deadline-Ms: "${text}" is not a whole number of milliseconds from 1 to ${MAX_TIMEOUT_MS}`;
  throw new IpamError("invalid_request", detail, { field: "Mooring-Deadline-Ms" });
}
