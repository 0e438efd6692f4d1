import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import express, { type NextFunction, type Request, type Response } from "express";
import { IpamError } from "../contract/index.ts";
import type { Operation } from "./operation.ts";
import { sendProblem } from "./reply.ts";
import { execute, type RequestPipeline, sendFailure } from "./request-pipeline.ts";

/**
 * Returns the request listener of all operations. Fixed paths are found by one map lookup, because routing would cost a
 * good part of a claim's time; the others go through express.
 */
export function createApp(pipeline: RequestPipeline, operations: readonly Operation[]): RequestListener {
  const direct = new Map(operations.filter(isFixed).map(each => [`${each.method} ${each.path}`, each]));
  const router = createRouter(pipeline, operations);
  return (request: IncomingMessage, response: ServerResponse) => {
    const operation = direct.get(`${request.method} ${request.url}`);
    if (operation) void execute(pipeline, operation, {}, request, response);
    else router(request, response);
  };
}

const isFixed = ({ path }: Operation): boolean => !path.includes("{");

function createRouter(pipeline: RequestPipeline, operations: readonly Operation[]): RequestListener {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.set("query parser", false);
  app.enable("strict routing");
  app.enable("case sensitive routing");

  for (const [path, ofPath] of Map.groupBy(operations, operation => operation.path)) {
    const byMethod = new Map(ofPath.map(operation => [operation.method as string, operation]));
    app.all(toExpressPath(path), (request: Request, response: Response) => {
      const operation = byMethod.get(request.method === "HEAD" ? "GET" : request.method);
      if (operation) return execute(pipeline, operation, flatten(request.params), request, response);
      return rejectMethod(pipeline, path, [...byMethod.keys()], request, response);
    });
  }
  app.use((request: Request, response: Response) => {
    const detail = `there is nothing at ${request.path}; /openapi.json lists all paths`;
    sendProblem(response, new IpamError("not_found", detail));
    pipeline.onAnswer("none", request.method, response.statusCode, 0);
  });
  // Express recognizes an error handler by its four parameters.
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) => {
    sendFailure(pipeline.log, isBadPath(error) ? badPath(request) : error, response);
    pipeline.onAnswer("none", request.method, response.statusCode, 0);
  });
  return app as unknown as RequestListener;
}

function rejectMethod(
  pipeline: RequestPipeline,
  path: string,
  methods: string[],
  request: Request,
  response: Response,
): void {
  const allow = methods.includes("GET") ? [...methods, "HEAD"] : methods;
  const detail = `${path} accepts ${methods.join(", ")}, not ${request.method}`;
  sendProblem(response, new IpamError("invalid_request", detail, { status: 405 }), { Allow: allow.join(", ") });
  pipeline.onAnswer(path, request.method, response.statusCode, 0);
}

const toExpressPath = (path: string): string => path.replaceAll(/\{\+(\w+)\}/g, "*$1").replaceAll(/\{(\w+)\}/g, ":$1");

/** Joins wildcard parameters, which express returns as segments. */
function flatten(params: Record<string, string | string[]>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(params).map(([name, value]) => [name, Array.isArray(value) ? value.join("/") : value]),
  );
}

/** True if the router could not decode the path's percent signs. */
const isBadPath = (error: unknown): boolean =>
  error instanceof URIError || (error as { status?: number })?.status === 400;

const badPath = ({ url }: Request): IpamError =>
  new IpamError("invalid_request", `the path ${url} is not well-formed: check its percent signs`);
