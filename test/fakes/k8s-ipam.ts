import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import type {
  Cluster,
  ClusterRegistration,
  MooringEvent,
  Port,
  Release,
  ReleaseResult,
  WorkloadReport,
  WorkloadReportResult,
} from "../../ipam-server/contract/index.ts";

const EXPIRES_AT = "2099-01-01T00:00:00.000Z";

/** The IPAM as far as the controller sees it: ports of a cluster, fenced releases and deletions, the event stream. */
export class FakeIpam implements AsyncDisposable {
  readonly ports = new Map<string, Port>();
  readonly #server: Server;
  readonly #streams = new Set<ServerResponse>();
  readonly #events: MooringEvent[] = [];
  /** What becomes of a port that its workload does not need. */
  retention: "Delete" | "keep" = "Delete";
  readonly clusters = new Map<string, Cluster>();
  /** Answers everything with 503 while true. */
  isDown = false;
  /** Called before a deletion or release is decided: what happens while the controller is on its way. */
  beforeWrite: (() => void) | undefined;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FakeIpam> {
    const server = createServer();
    const ipam = new FakeIpam(server);
    server.on("request", (request, response) => void ipam.#serve(request, response));
    await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
    return ipam;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("not listening");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Stores the port and sends its event. */
  put(port: Port, event: Partial<MooringEvent> = {}): void {
    this.ports.set(port.name, port);
    this.sendEvent({ type: "port.bound", port: port.name, ...(port.cluster && { cluster: port.cluster }), ...event });
  }

  sendEvent(event: Partial<MooringEvent> & Pick<MooringEvent, "type">): void {
    const sent = { seq: this.#events.length + 1, time: "2026-11-20T08:00:00.000Z", caller: "test", ...event };
    this.#events.push(sent);
    for (const stream of this.#streams) stream.write(frame(sent));
  }

  /** As after its database was replaced by an older one. */
  forgetEvents(): void {
    this.#events.length = 0;
    this.cutStreams();
  }

  get hasStream(): boolean {
    return this.#streams.size > 0;
  }

  cutStreams(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const url = new URL(request.url ?? "/", "http://fake");
    if (this.isDown) return problem(response, 503, "unavailable");
    if (url.pathname.startsWith("/v1/clusters/")) {
      const registration = JSON.parse(await text(request)) as ClusterRegistration;
      return this.#register(response, url.pathname.slice("/v1/clusters/".length), registration);
    }
    if (url.pathname === "/v1/ports") {
      const cluster = url.searchParams.get("cluster");
      return answer(response, { ports: [...this.ports.values()].filter(port => port.cluster === cluster) });
    }
    if (url.pathname === "/v1/events")
      return this.#serveEvents(request, response, Number(url.searchParams.get("after") ?? 0));
    if (url.pathname === "/v1/releases") {
      const { releases } = JSON.parse(await text(request)) as { releases: Release[] };
      this.beforeWrite?.();
      return answer(response, { results: releases.map(release => this.#release(release)) });
    }
    if (url.pathname === "/v1/needs") {
      const { needs } = JSON.parse(await text(request)) as { needs: WorkloadReport[] };
      this.beforeWrite?.();
      return answer(response, { results: needs.map(report => this.#report(report)) });
    }
    const name = decodeURIComponent(url.pathname.slice("/v1/ports/".length));
    const port = this.ports.get(name);
    return port === undefined ? problem(response, 404, "not_found") : answer(response, port);
  }

  #report({ name, id, epoch, need, mayEnd }: WorkloadReport): WorkloadReportResult {
    const port = this.ports.get(name);
    if (port === undefined) return { applied: false, reason: "not_found" };
    if (port.id !== id || port.epoch !== epoch || port.binding) return { applied: false, reason: "stale" };
    const { unneeded: _, expiresAt: __, ...kept } = port;
    const deleted = need !== "needed" && this.retention === "Delete";
    if (deleted && mayEnd === false) return { applied: false, reason: "ends" };
    if (deleted) this.ports.delete(name);
    else this.ports.set(name, need === "needed" ? kept : { ...kept, unneeded: need, expiresAt: EXPIRES_AT });
    const type = deleted ? "port.deleted" : "port.retained";
    this.sendEvent({ type, port: name, ...(port.cluster && { cluster: port.cluster }) });
    return { applied: true, deleted, ...(!deleted && need !== "needed" && { expiresAt: EXPIRES_AT }) };
  }

  #register(response: ServerResponse, name: string, { uid, heldPass }: ClusterRegistration): unknown {
    const time = "2026-11-20T08:00:00.000Z";
    const { heldPass: held, ...cluster } = this.clusters.get(name) ?? { name, uid, registeredAt: time };
    if (!this.clusters.has(name)) this.clusters.set(name, cluster);
    if (cluster.uid !== uid) return problem(response, 409, "conflict");
    if (heldPass !== undefined && held?.id !== heldPass?.id) {
      this.clusters.set(name, { ...cluster, ...(heldPass && { heldPass: { ...heldPass, heldAt: time } }) });
    }
    return answer(response, this.clusters.get(name));
  }

  /** As mooringctl confirm does. */
  confirm(name: string): void {
    const cluster = this.clusters.get(name);
    if (cluster?.heldPass === undefined) throw new Error(`${name} holds no pass`);
    const heldPass = { ...cluster.heldPass, confirmedUntil: "2099-01-01T00:00:00.000Z" };
    this.clusters.set(name, { ...cluster, heldPass });
  }

  #release(release: Release): ReleaseResult {
    const port = this.ports.get(release.name ?? "");
    if (port === undefined) return { released: false, reason: "not_found" };
    const { binding, ...rest } = port;
    if (binding === undefined) return { released: false, reason: "unbound" };
    const isMine =
      binding.host === release.host &&
      binding.ownerUid === release.ownerUid &&
      binding.sandbox?.id === release.sandbox?.id;
    if (!isMine) return { released: false, reason: "stale", name: port.name };
    const deleted = port.retention.policy === "ephemeral";
    if (deleted) this.ports.delete(port.name);
    else this.ports.set(port.name, rest);
    const type = deleted ? "port.deleted" : "port.released";
    this.sendEvent({ type, port: port.name, host: binding.host, ...(port.cluster && { cluster: port.cluster }) });
    return { released: true, name: port.name, deleted };
  }

  #serveEvents(request: IncomingMessage, response: ServerResponse, after: number): unknown {
    if (request.headers.accept?.includes("text/event-stream") !== true) {
      return answer(response, { events: [], lastSeq: this.#events.length });
    }
    if (after > this.#events.length) return problem(response, 409, "conflict");
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    for (const event of this.#events) if (event.seq > after) response.write(frame(event));
    this.#streams.add(response);
    response.on("close", () => this.#streams.delete(response));
    return response;
  }
}

const frame = (event: MooringEvent) => `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

function answer(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

function problem(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "content-type": "application/problem+json" });
  response.end(JSON.stringify({ type: `urn:mooring:problem:${code}`, title: code, status, detail: code, code }));
}
