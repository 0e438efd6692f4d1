import type {
  EventList,
  EventQuery,
  ImportResponse,
  MooringEvent,
  Network,
  NetworkList,
  NetworkManifest,
  Port,
  PortList,
  PortQuery,
  PortReservation,
  PutNetworkResponse,
  Release,
  ReleaseResult,
  ReleasesResponse,
} from "../contract/index.ts";
import { IpamError, TRANSFER_TYPE } from "../contract/index.ts";
import { CtlError } from "./ctl-error.ts";
import type { Download, Method, Transport } from "./transport.ts";

/** A broken promise of the store, as `GET /v1/check` tells it. */
export interface Finding {
  what: string;
  where: string;
}

/** Large pages: a person waits for the whole list anyway. */
const PAGE_SIZE = 1000;

/** The IPAM's API as mooringctl uses it. Rejects as Transport.call does. */
export class Client {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async listNetworks(label?: string): Promise<Network[]> {
    const path = `/v1/networks${formatQuery({ label })}`;
    return expectShape<NetworkList>(await this.#fetch("GET", path), "networks").networks;
  }

  async readNetwork(name: string): Promise<Network> {
    return expectShape<Network>(await this.#fetch("GET", networkPath(name)), "name");
  }

  async putNetwork(manifest: NetworkManifest): Promise<PutNetworkResponse> {
    const path = networkPath(manifest.metadata.name);
    return expectShape<PutNetworkResponse>(await this.#fetch("PUT", path, manifest), "outcome");
  }

  async deleteNetwork(name: string): Promise<void> {
    await this.#fetch("DELETE", networkPath(name));
  }

  async *pagePorts(query: PortQuery): AsyncGenerator<Port[]> {
    let cursor: string | undefined;
    do {
      const path = `/v1/ports${formatQuery({ ...query, limit: PAGE_SIZE, cursor })}`;
      const page = expectShape<PortList>(await this.#fetch("GET", path), "ports");
      yield page.ports;
      cursor = page.nextCursor;
    } while (cursor !== undefined);
  }

  async readPort(name: string): Promise<Port> {
    return expectShape<Port>(await this.#fetch("GET", portPath(name)), "name");
  }

  async reservePort(name: string, reservation: PortReservation): Promise<{ port: Port; created: boolean }> {
    const { status, body } = await this.#transport.call("PUT", portPath(name), reservation);
    return { port: expectShape<Port>(body, "name"), created: status === 201 };
  }

  async deletePort(name: string): Promise<void> {
    await this.#fetch("DELETE", portPath(name));
  }

  async release(release: Release): Promise<Exclude<ReleaseResult, { problem: unknown }>> {
    const answer = await this.#fetch("POST", "/v1/releases", { releases: [release] });
    const [result] = expectShape<ReleasesResponse>(answer, "results").results;
    if (result === undefined) throw strangeAnswer("results[0]");
    if ("problem" in result) throw IpamError.fromProblem(result.problem);
    return result;
  }

  /** Oldest first. */
  async *pageEvents(query: Omit<EventQuery, "limit" | "type">): AsyncGenerator<MooringEvent[]> {
    let after = query.after;
    for (;;) {
      const path = `/v1/events${formatQuery({ ...query, after, limit: PAGE_SIZE })}`;
      const { events } = expectShape<EventList>(await this.#fetch("GET", path), "events");
      yield events;
      if (events.length < PAGE_SIZE) return;
      after = events.at(-1)?.seq;
    }
  }

  async check(): Promise<Finding[]> {
    return expectShape<{ findings: Finding[] }>(await this.#fetch("GET", "/v1/check"), "findings").findings;
  }

  backup(): Promise<Download> {
    return this.#transport.download("/v1/backup");
  }

  export(): Promise<Download> {
    return this.#transport.download("/v1/export");
  }

  async import(chunks: AsyncIterable<Uint8Array>): Promise<ImportResponse> {
    const { body } = await this.#transport.upload("/v1/import", TRANSFER_TYPE, chunks);
    return expectShape<ImportResponse>(body, "digest");
  }

  /** Rejects with `unavailable` while the server cannot take a write. */
  async ready(): Promise<void> {
    await this.#fetch("GET", "/readyz");
  }

  async #fetch(method: Method, path: string, body?: unknown): Promise<unknown> {
    return (await this.#transport.call(method, path, body)).body;
  }
}

/** Port names hold slashes; the whole name is one segment of the path. */
const portPath = (name: string) => `/v1/ports/${encodeURIComponent(name)}`;
const networkPath = (name: string) => `/v1/networks/${encodeURIComponent(name)}`;

function formatQuery(query: Record<string, string | number | undefined>): string {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) given.set(key, String(value));
  return given.size === 0 ? "" : `?${given}`;
}

/** The edge where the server's word is taken: an answer with the key that tells its type is of that type. */
function expectShape<T>(body: unknown, key: keyof T & string): T {
  if (typeof body !== "object" || body === null || !(key in body)) throw strangeAnswer(key);
  return body as T;
}

function strangeAnswer(missing: string): CtlError {
  return new CtlError("unreachable", `the server's answer has no ${JSON.stringify(missing)}`, {
    advice: "Check that --server names a Mooring IPAM of the same version as mooringctl.",
  });
}
