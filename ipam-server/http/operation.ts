import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import type { Action, Caller } from "../domain/model/caller.ts";
import type { Reply } from "./reply.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** One validated request. */
export interface Call<B = unknown, Q = unknown> {
  caller: Caller;
  /** Path parameters, decoded. */
  params: Record<string, string>;
  query: Q;
  body: B;
  /** How long the caller will still wait; Infinity if it set no deadline. */
  timeoutMs: number;
  request: IncomingMessage;
}

/**
 * One call of the API: its handler and its OpenAPI description, from the same schemas. In `path`, `{name}` is one
 * segment and `{+name}` the rest of the path, including slashes (encoded or not).
 */
export interface Operation {
  method: Method;
  path: string;
  id: string;
  summary: string;
  action: Action;
  /** The read queue in which the call waits, after claims, releases and reports; `long` for full scans. */
  read?: "short" | "long";
  query?: z.ZodObject;
  params?: Record<string, z.ZodType>;
  body?: z.ZodType;
  /** What the OpenAPI document shows instead of `body`, if the handler validates the items. */
  documentedBody?: z.ZodType;
  responses: Record<number, { about: string; schema?: z.ZodType; contentType?: string }>;
  handle(call: Call): Promise<Reply>;
}

type Typed<B extends z.ZodType, Q extends z.ZodObject> = Omit<Operation, "handle" | "body" | "query"> & {
  body?: B;
  query?: Q;
  handle(call: Call<z.output<B>, z.output<Q>>): Promise<Reply>;
};

/** Declares an operation whose handler has the types of its schemas. */
export function operation<B extends z.ZodType = z.ZodNever, Q extends z.ZodObject = z.ZodObject>(
  typed: Typed<B, Q>,
): Operation {
  return typed as unknown as Operation;
}
