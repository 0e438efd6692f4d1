import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import type { Action, Caller } from "../domain/model/caller.ts";
import type { Reply } from "./reply.ts";

export type Method = "GET" | "POST" | "PUT" | "DELETE";

/** One request, validated. */
export interface Call<B = unknown, Q = unknown> {
  caller: Caller;
  /** Path parameters, decoded. */
  params: Record<string, string>;
  query: Q;
  body: B;
  /** How long the caller will still wait; Infinity when it did not say. */
  timeoutMs: number;
  request: IncomingMessage;
}

/**
 * One call of the API: what serves it and what the OpenAPI document says about it, from the same schemas.
 * In `path`, `{name}` is one segment, and `{+name}` the rest of the path, slashes included (encoded or not).
 */
export interface Operation {
  method: Method;
  path: string;
  id: string;
  summary: string;
  action: Action;
  /**
   * It may be asked for by many: it waits for its turn among the reads (`short`), or where it looks at everything among
   * those that do (`long`), behind claims, releases and reports.
   */
  read?: "short" | "long";
  query?: z.ZodObject;
  params?: Record<string, z.ZodType>;
  body?: z.ZodType;
  /** What the OpenAPI document shows instead of `body`, where `body` leaves the items to the handler. */
  documentedBody?: z.ZodType;
  responses: Record<number, { about: string; schema?: z.ZodType; contentType?: string }>;
  handle(call: Call): Promise<Reply>;
}

type Typed<B extends z.ZodType, Q extends z.ZodObject> = Omit<Operation, "handle" | "body" | "query"> & {
  body?: B;
  query?: Q;
  handle(call: Call<z.output<B>, z.output<Q>>): Promise<Reply>;
};

/** Ties the handler's types to its schemas. */
export function operation<B extends z.ZodType = z.ZodNever, Q extends z.ZodObject = z.ZodObject>(
  typed: Typed<B, Q>,
): Operation {
  return typed as unknown as Operation;
}
