import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { type ErrorCode, IpamError, type IpamErrorDetails } from "../../../ipam-server/contract/index.ts";

export interface Received {
  method: string;
  /** As sent, with the query. */
  url: string;
  body: unknown;
}

export type Reply = { status?: number; body?: unknown; raw?: string };

export const errorReply = (code: ErrorCode, message: string, details?: IpamErrorDetails): Reply => {
  const problem = new IpamError(code, message, details).toProblem();
  return { status: problem.status, body: problem };
};

/** An HTTP server that answers as the test says, and records its requests. */
export class FakeServer implements AsyncDisposable {
  readonly requests: Received[] = [];
  readonly #server: Server;

  /** `answer` undefined: never answers. */
  constructor(answer: (request: Received) => Reply | undefined) {
    this.#server = createServer(async (request, response) => {
      const body = await text(request);
      const received = {
        method: request.method ?? "",
        url: request.url ?? "",
        body: body === "" ? undefined : JSON.parse(body),
      };
      this.requests.push(received);
      const reply = answer(received);
      if (reply === undefined) return;
      response.writeHead(reply.status ?? 200);
      response.end(reply.raw ?? (reply.body === undefined ? "" : JSON.stringify(reply.body)));
    });
  }

  async listen(path?: string): Promise<string> {
    this.#server.listen(path === undefined ? { port: 0, host: "127.0.0.1" } : { path });
    await once(this.#server, "listening");
    if (path !== undefined) return `unix:${path}`;
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
