import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { text } from "node:stream/consumers";
import {
  type Claim,
  type ClaimResult,
  type ErrorCode,
  IpamError,
  type NodeLease,
  type Port,
  type Problem,
  type Release,
  type ReleaseResult,
  type Report,
} from "../../ipam-server/contract/index.ts";

interface Reply {
  status: number;
  body: unknown;
}

/** As much of an IPAM as the CNI verbs talk to: one network, addresses handed out in order, bindings and epochs. */
export class FakeIpam implements AsyncDisposable {
  readonly ports = new Map<string, Port>();
  readonly requests: { method: string; path: string; body: unknown; authorization: string | undefined }[] = [];
  readonly claims: Claim[] = [];
  readonly reports: Report[] = [];
  readonly releases: Release[] = [];
  /** Answers to give instead, one a request; "hang up" closes the connection after reading the request. */
  readonly instead: (Reply | "hang up" | "say nothing")[] = [];
  /** Called with each claim before it is decided. */
  onClaim: (claim: Claim) => void = () => {};
  /** Rejects the complete request if this is true of one of its claims. */
  refuseRequest: (claim: Claim) => boolean = () => false;
  onRelease: (release: Release) => void = () => {};
  vlan: number | undefined = 100;
  mtu = 1400;
  ipv6 = false;
  /** No release is on record, so that hosts probe. */
  isUnknown = false;
  /** The network leases addresses to nodes. */
  nodeLease: NodeLease | undefined;
  leaseMs = 3_600_000;
  /** Of 127.0.0.1; 0 on a unix socket. */
  port = 0;
  /** How many connections were ever opened. */
  connections = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #next = 10;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(listen: { path: string } | { port: number } = { port: 0 }): Promise<FakeIpam> {
    const server = createServer();
    const fake = new FakeIpam(server);
    server.on("request", (request, response) => void fake.#serve(request, response));
    server.on("connection", socket => {
      fake.connections += 1;
      fake.#sockets.add(socket);
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen({ ...listen, host: "127.0.0.1" }, resolve);
    await promise;
    const address = server.address();
    if (address !== null && typeof address === "object") fake.port = address.port;
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Ends all connections and waits until they are gone on this side. */
  async dropConnections(): Promise<void> {
    const gone = [...this.#sockets].map(socket => new Promise(resolve => socket.once("close", resolve)));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(gone);
    this.#sockets.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    this.#server.closeAllConnections();
    await promise;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const raw = await text(request);
    const body = raw === "" ? undefined : JSON.parse(raw);
    const { method = "", url: path = "" } = request;
    this.requests.push({ method, path, body, authorization: request.headers.authorization });
    const instead = this.instead.shift();
    if (instead === "hang up") return void request.socket.destroy();
    if (instead === "say nothing") return;
    const reply = instead ?? this.#answer(`${method} ${path}`, body);
    response.writeHead(reply.status, { "content-type": "application/json" });
    response.end(typeof reply.body === "string" ? reply.body : JSON.stringify(reply.body));
  }

  // biome-ignore lint/suspicious/noExplicitAny: a fake trusts its own tests' requests
  #answer(route: string, body: any): Reply {
    if (route === "GET /readyz") return { status: 200, body: { status: "ok" } };
    if (route === "POST /v1/claims") {
      if (body.claims.some(this.refuseRequest)) return problem("invalid_request", "claims[]: is not valid");
      return { status: 200, body: { results: body.claims.map((claim: Claim) => this.decide(claim)) } };
    }
    if (route === "POST /v1/releases") {
      return { status: 200, body: { results: body.releases.map((release: Release) => this.#release(release)) } };
    }
    if (route === "POST /v1/reports") {
      this.reports.push(...body.reports);
      return { status: 200, body: { results: body.reports.map(() => ({ applied: true })) } };
    }
    const port = this.ports.get(decodeURIComponent(route.replace("GET /v1/ports/", "")));
    if (port !== undefined) return { status: 200, body: port };
    if (route === "GET /v1/networks/prod-a") return { status: 200, body: this.#network() };
    return problem("not_found", `there is no ${route}`);
  }

  decide(claim: Claim): ClaimResult {
    this.claims.push(claim);
    this.onClaim(claim);
    const isLease = claim.owner.kind === "lease";
    const now = new Date(0).toISOString();
    const name = claim.name ?? `${claim.slotOf?.application}/0`;
    if (isLease && this.nodeLease === undefined) return refusal("conflict", "prod-a leases no addresses");
    const lease = claim.leasedPort === undefined ? undefined : this.ports.get(claim.leasedPort);
    const present = this.ports.get(name);
    const isUnused = present?.owner?.uid === claim.owner.uid && present.binding?.sandbox === undefined;
    if (lease !== undefined && isUnused) this.ports.delete(name);
    const isRepeat = this.ports.get(name)?.binding?.sandbox?.id === claim.sandbox?.id;
    if (claim.leasedPort !== undefined && this.ports.has(name) && !isRepeat) {
      return refusal("port_in_use", `port ${name} is there already`);
    }
    if (claim.leasedPort !== undefined && !this.ports.has(name)) {
      if (lease === undefined) return refusal("conflict", `${claim.leasedPort} is no lease any more`);
      this.ports.delete(lease.name);
      this.ports.set(name, { ...lease, owner: claim.owner });
    }
    const old = this.ports.get(name);
    const known = old?.binding?.sandbox?.id;
    // A pre-claim and the claim with its sandbox are one binding.
    const isPreclaim = old?.owner?.uid === claim.owner.uid && (known === undefined || claim.sandbox === undefined);
    const same = old?.binding !== undefined && (isPreclaim || known === claim.sandbox?.id);
    const last = old === undefined ? this.#next++ : 0;
    const port: Port = {
      name,
      id: old?.id ?? `id-of-${name}`,
      network: "prod-a",
      mac: claim.mac ?? `0a:58:0a:64:01:${last.toString(16).padStart(2, "0")}`,
      fixedIps: [
        {
          address: claim.ips?.find(ip => !ip.includes(":")) ?? `10.100.1.${last}`,
          subnet: "10.100.0.0/16",
          prefixLength: 16,
          gateway: "10.100.0.1",
        },
        ...(this.ipv6
          ? [{ address: `fd00:100::${last}`, subnet: "fd00:100::/64", prefixLength: 64, gateway: "fd00:100::1" }]
          : []),
      ],
      labels: claim.labels ?? {},
      underlay: "BUILD",
      overlay: "ACTIVE",
      state: "BUILD_ACTIVE",
      createdAt: now,
      updatedAt: now,
      ...(old !== undefined && { mac: old.mac, fixedIps: old.fixedIps }),
      retention: claim.retention ?? { policy: "ephemeral" },
      owner: claim.owner,
      epoch: (old?.epoch ?? 0) + (same ? 0 : 1),
      binding: {
        host: claim.host,
        ownerUid: claim.owner.uid,
        boundAt: now,
        ...(claim.sandbox !== undefined && { sandbox: claim.sandbox }),
      },
    };
    if (isLease) port.expiresAt = new Date(this.leaseMs).toISOString();
    this.ports.set(name, port);
    return {
      port,
      ...(this.nodeLease && { nodeLease: this.nodeLease }),
      segment:
        this.vlan === undefined
          ? { type: "flat", physicalNetwork: "p" }
          : { type: "vlan", id: this.vlan, physicalNetwork: "p" },
      mtu: this.mtu,
      routes: this.#routes(),
      dns: { nameservers: ["10.0.0.53"] },
      previousBindingReleased: !this.isUnknown && (old === undefined || old.releasedAt !== undefined),
    };
  }

  #release(release: Release): ReleaseResult {
    this.releases.push(release);
    this.onRelease(release);
    for (const port of this.ports.values()) {
      const { binding } = port;
      const { sandbox } = binding ?? {};
      if (binding?.host !== release.host || sandbox?.id !== release.sandbox?.id) continue;
      if (sandbox === undefined && release.name !== undefined && release.name !== port.name) continue;
      if (sandbox?.interface !== release.sandbox?.interface) continue;
      const deleted = port.retention.policy === "ephemeral" || (release.conflict !== undefined && port.epoch === 1);
      if (deleted) this.ports.delete(port.name);
      else {
        const { binding: _ended, ...unbound } = port;
        this.ports.set(port.name, { ...unbound, releasedAt: new Date(0).toISOString() });
      }
      return { released: true, name: port.name, deleted };
    }
    return { released: false, reason: "not_found" };
  }

  #routes(): { dst: string; gw: string }[] {
    return [{ dst: "0.0.0.0/0", gw: "10.100.0.1" }, ...(this.ipv6 ? [{ dst: "::/0", gw: "fd00:100::1" }] : [])];
  }

  #network(): object {
    const [ipv4, ipv6] = this.#routes();
    return {
      name: "prod-a",
      segment:
        this.vlan === undefined
          ? { type: "flat", physicalNetwork: "p" }
          : { type: "vlan", id: this.vlan, physicalNetwork: "p" },
      mtu: this.mtu,
      subnets: [
        { cidr: "10.100.0.0/16", routes: [ipv4] },
        ...(ipv6 === undefined ? [] : [{ cidr: "fd00:100::/64", routes: [ipv6] }]),
      ],
    };
  }
}

/** The result of one item. */
function refusal(code: ErrorCode, detail: string): { problem: Problem } {
  return { problem: new IpamError(code, detail).toProblem() };
}

/** A complete answer that is one problem. */
export function problem(code: ErrorCode, detail: string, details: { retryAfterSeconds?: number } = {}): Reply {
  const document: Problem = new IpamError(code, detail, details).toProblem();
  return { status: document.status, body: document };
}
