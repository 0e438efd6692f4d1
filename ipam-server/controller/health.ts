import { createServer, type Server } from "node:http";
import { Counter, Gauge, Registry } from "prom-client";
import type { ListenAddress } from "../process/option-parsers.ts";

export interface HealthState {
  /** Milliseconds since the last pass that ended, or since the start; a follower makes none. */
  silentMs(): number;
  isLeader(): boolean;
  suspectCount(): number;
}

/** A pass takes seconds; a loop silent for this long hangs. */
const HUNG_MS = 5 * 60_000;

export class ControllerMetrics {
  readonly registry = new Registry();
  readonly reclaimed = new Counter({
    name: "mooring_controller_reclaimed_total",
    help: "Bindings released and ports deleted because no Kubernetes workload uses them",
    labelNames: ["action"],
    registers: [this.registry],
  });
  readonly failures = new Counter({
    name: "mooring_controller_failures_total",
    help: "Failed steps that are retried, by component",
    labelNames: ["component"],
    registers: [this.registry],
  });

  constructor(state: HealthState) {
    new Gauge({
      name: "mooring_controller_leader",
      help: "1 while this replica is the leader",
      registers: [this.registry],
      collect() {
        this.set(state.isLeader() ? 1 : 0);
      },
    });
    new Gauge({
      name: "mooring_controller_suspects",
      help: "Ports and bindings that look unused and are in their grace period",
      registers: [this.registry],
      collect() {
        this.set(state.suspectCount());
      },
    });
  }
}

/** `/healthz` (the loop turns), `/readyz` (the same: a follower is ready to lead) and `/metrics`. */
export class HealthServer implements AsyncDisposable {
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(listen: ListenAddress, state: HealthState, registry: Registry): Promise<HealthServer> {
    const server = createServer(async (request, response) => {
      const path = request.url?.split("?")[0];
      if (path === "/metrics") {
        response.setHeader("content-type", registry.contentType);
        response.end(await registry.metrics());
      } else if (path === "/healthz" || path === "/readyz") {
        const silentMs = state.silentMs();
        response.statusCode = silentMs < HUNG_MS ? 200 : 503;
        response.end(silentMs < HUNG_MS ? "ok\n" : `no pass has ended for ${Math.round(silentMs / 1000)} s\n`);
      } else {
        response.statusCode = 404;
        response.end("there are /healthz, /readyz and /metrics\n");
      }
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
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
