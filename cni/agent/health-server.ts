import { rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { Registry } from "prom-client";
import type { ListenAddress } from "../../ipam-server/process/option-parsers.ts";

export interface Health {
  /** What keeps the agent from serving calls, a line each; empty when nothing does. */
  findObstacles(): Promise<string[]>;
}

/**
 * `/healthz` (the process turns), `/readyz` (calls can be served: whether the IPAM answers is not in it, because a node
 * that holds its pods' ports is of use without) and `/metrics`.
 */
export class HealthServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(listen: ListenAddress, health: Health, registry: Registry): Promise<HealthServer> {
    const answer = async (path: string | undefined): Promise<{ status: number; type: string; body: string }> => {
      const plain = "text/plain; charset=utf-8";
      if (path === "/metrics") return { status: 200, type: registry.contentType, body: await registry.metrics() };
      if (path === "/healthz") return { status: 200, type: plain, body: "ok\n" };
      if (path !== "/readyz") return { status: 404, type: plain, body: "there are /healthz, /readyz and /metrics\n" };
      const obstacles = await health.findObstacles();
      if (obstacles.length === 0) return { status: 200, type: plain, body: "ok\n" };
      return { status: 503, type: plain, body: `${obstacles.join("\n")}\n` };
    };
    const server = createServer(async (request, response) => {
      const { status, type, body } = await answer(request.url?.split("?")[0]).catch(error => ({
        status: 500,
        type: "text/plain",
        body: `${error}\n`,
      }));
      response.writeHead(status, { "content-type": type }).end(body);
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    // What a process before left there, when it had no time to clear up.
    if (listen.type === "unix") await rm(listen.path, { force: true });
    if (listen.type === "unix") server.listen(listen.path, resolve);
    else server.listen(listen.port, listen.host, resolve);
    await promise;
    return new HealthServer(server);
  }

  get address(): ReturnType<Server["address"]> {
    return this.#server.address();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }
}
