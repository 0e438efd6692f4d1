import type { ServerResponse } from "node:http";
import type { IpamError } from "../contract/index.ts";

export type Headers = Record<string, string>;

export type Reply =
  | { status: number; json: unknown; headers?: Headers }
  | { status: number; text: string; contentType: string; headers?: Headers }
  | { status: 204; headers?: Headers }
  /** The handler writes the response itself and settles when it has ended. */
  | { stream(response: ServerResponse): Promise<void> };

export function sendReply(response: ServerResponse, reply: Exclude<Reply, { stream: unknown }>): void {
  if ("json" in reply) send(response, reply.status, "application/json", JSON.stringify(reply.json), reply.headers);
  else if ("text" in reply) send(response, reply.status, reply.contentType, reply.text, reply.headers);
  else response.writeHead(reply.status, reply.headers).end();
}

/** Sends an RFC 9457 problem. Closes the connection if the body was not read to its end. */
export function sendProblem(response: ServerResponse, error: IpamError, headers: Headers = {}): void {
  const problem = error.toProblem();
  const retryAfter = problem.retryAfterSeconds ?? (problem.status === 503 ? 1 : undefined);
  const { req } = response;
  if (
    !req.complete &&
    (req.headers["content-length"] !== undefined || req.headers["transfer-encoding"] !== undefined)
  ) {
    response.shouldKeepAlive = false;
  }
  send(response, problem.status, "application/problem+json", JSON.stringify(problem), {
    ...headers,
    ...(retryAfter !== undefined && { "Retry-After": String(retryAfter) }),
  });
}

function send(response: ServerResponse, status: number, contentType: string, text: string, headers?: Headers): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { "Content-Type": contentType, "Content-Length": Buffer.byteLength(text), ...headers });
  // The length is also sent for HEAD, whose body Node omits.
  response.end(text);
}
