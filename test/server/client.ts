import type {
  Claim,
  ClaimResult,
  EventList,
  NetworkManifest,
  PortAttachment,
  PortList,
  Problem,
  Release,
  ReleaseResult,
} from "../../ipam-server/contract/index.ts";

const DEADLINE_MS = 30_000;

export interface Answer<T = unknown> {
  status: number;
  headers: Headers;
  body: T;
}

/** The API as any HTTP client sees it. */
export class Client {
  readonly #url: string;

  constructor({ url }: { url: string }) {
    this.#url = url;
  }

  async send<T = unknown>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const json = body === undefined ? {} : { "Content-Type": "application/json" };
    const response = await fetch(this.#url + path, {
      method,
      headers: { ...json, ...headers },
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("content-type") ?? "");
    return { status: response.status, headers: response.headers, body: (isJson ? JSON.parse(text) : text) as T };
  }

  get = <T>(path: string): Promise<Answer<T>> => this.send<T>("GET", path);

  async claims(...claims: Claim[]): Promise<ClaimResult[]> {
    const { body } = await this.send<{ results: ClaimResult[] }>("POST", "/v1/claims", { claims });
    return body.results;
  }

  /** The attachment; throws when the claim failed. */
  async claim(claim: Claim): Promise<PortAttachment> {
    const [result] = await this.claims(claim);
    if (result === undefined || "problem" in result) throw new Error(JSON.stringify(result));
    return result;
  }

  async release(release: Release): Promise<ReleaseResult | undefined> {
    const { body } = await this.send<{ results: ReleaseResult[] }>("POST", "/v1/releases", { releases: [release] });
    return body.results[0];
  }

  async allPorts(): Promise<PortList["ports"]> {
    const ports: PortList["ports"] = [];
    for (let cursor: string | undefined = ""; cursor !== undefined; ) {
      const after: string = cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`;
      const { body }: Answer<PortList> = await this.get<PortList>(`/v1/ports?limit=1000${after}`);
      ports.push(...body.ports);
      cursor = body.nextCursor;
    }
    return ports;
  }

  async events(query = ""): Promise<EventList> {
    return (await this.get<EventList>(`/v1/events${query}`)).body;
  }

  async findings(): Promise<unknown[]> {
    return (await this.get<{ findings: unknown[] }>("/v1/check")).body.findings;
  }
}

export const isProblem = (body: unknown): body is Problem =>
  typeof body === "object" && body !== null && "code" in body && "detail" in body;

export function networkOf(
  name: string,
  cidr: string,
  labels: Record<string, string> = { env: "prod" },
): NetworkManifest {
  const gateway = cidr.replace(/\.0\/\d+$/, ".1");
  // Two networks of one VLAN are refused, so the VLAN follows from the CIDR.
  const id = Number(cidr.split(".")[1]);
  return {
    apiVersion: "mooring.dev/v1",
    kind: "Network",
    metadata: { name, labels },
    spec: { segment: { type: "vlan", id, physicalNetwork: "physnet1" }, subnets: [{ cidr, gateway }] },
  };
}

/** A claim of a pod's n-th life, on a host. */
export function claimOf(pod: string, life = 1, host = "node-a", more: Partial<Claim> = {}): Claim {
  return {
    name: `c1/default/${pod}`,
    host,
    sandbox: { id: `${pod}-sandbox-${life}`, interface: "eth0" },
    owner: {
      kind: "pod",
      uid: `${pod}-uid-${life}`,
      createdAt: new Date(1_800_000_000_000 + life * 1000).toISOString(),
    },
    networkSelector: "env=prod",
    retention: { policy: "sticky" },
    ...more,
  };
}

export const releaseOf = ({ host, sandbox }: Claim): Release => ({ host, ...(sandbox && { sandbox }) });
