import { rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { Registry } from "prom-client";
import type { ListenAddress } from "./option-parsers.ts";

export interface HealthChecks {
  /** Why the process should be restarted, one reason a line. Default: never. */
  findFaults?(): string[];
  /** Why the process cannot serve, one reason a line; empty: it is ready. */
  findObstacles(): string[] | Promise<string[]>;
}

interface Answer {
  status: number;
  type: string;
  body: string;
}

const TEXT = "text/plain; charset=utf-8";

/** Serves `/healthz` (the process works), `/readyz` (it can serve) and `/metrics`, as Kubernetes probes and Prometheus expect. */
export class HealthServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Rejects if the address cannot be bound. */
  static async start(
    listen: ListenAddress,
    checks: HealthChecks,
    registry: Pick<Registry, "contentType" | "metrics">,
  ): Promise<HealthServer> {
    const answer = async (path: string | undefined): Promise<Answer> => {
      if (path === "/metrics") return { status: 200, type: registry.contentType, body: await registry.metrics() };
      if (path === "/healthz") return toAnswer(checks.findFaults?.() ?? []);
      if (path === "/readyz") return toAnswer(await checks.findObstacles());
      return { status: 404, type: TEXT, body: "not found; the paths are /healthz, /readyz and /metrics\n" };
    };
    const server = createServer(async (request, response) => {
      const { status, type, body } = await answer(request.url?.split("?")[0]).catch(
        (error: unknown): Answer => ({ status: 500, type: TEXT, body: `${error}\n` }),
      );
      response.writeHead(status, { "content-type": type }).end(body);
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    // A process that crashed leaves its socket file.
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

function toAnswer(reasons: readonly string[]): Answer {
  return reasons.length === 0
    ? { status: 200, type: TEXT, body: "ok\n" }
    : { status: 503, type: TEXT, body: `${reasons.join("\n")}\n` };
}
