import { setTimeout as sleep } from "node:timers/promises";
import { EventStreamCodec } from "../contract/event-stream.ts";
import type {
  MooringEvent,
  Port,
  PortList,
  PortPrecondition,
  Release,
  ReleaseResult,
  ReleasesResponse,
} from "../contract/index.ts";
import { IpamError } from "../contract/index.ts";
import type { IpamTransport } from "./ipam-transport.ts";

const PAGE = 1000;
/** The server sends a comment more often than this. */
const SILENCE_MS = 60_000;

/** What the controller asks of the IPAM. Rejects with IpamError. */
export class IpamClient {
  readonly #transport: IpamTransport;

  constructor(transport: IpamTransport) {
    this.#transport = transport;
  }

  /** All ports of a cluster, or an error: never a part. */
  async readPorts(cluster: string, signal?: AbortSignal): Promise<Port[]> {
    const ports: Port[] = [];
    let cursor: string | undefined;
    do {
      const query = new URLSearchParams({ cluster, limit: String(PAGE), ...(cursor !== undefined && { cursor }) });
      const page = (await this.#transport.call("GET", `/v1/ports?${query}`, undefined, signal)) as PortList;
      if (!Array.isArray(page.ports)) throw new IpamError("unavailable", "The IPAM answered a list without ports");
      ports.push(...page.ports);
      cursor = page.nextCursor;
    } while (cursor !== undefined);
    return ports;
  }

  /** Undefined when there is none of this name. */
  async readPort(name: string): Promise<Port | undefined> {
    try {
      return (await this.#transport.call("GET", portPath(name))) as Port;
    } catch (error) {
      if (error instanceof IpamError && error.code === "not_found") return undefined;
      throw error;
    }
  }

  async release(releases: Release[]): Promise<ReleaseResult[]> {
    const { results } = (await this.#transport.call("POST", "/v1/releases", { releases })) as ReleasesResponse;
    if (!Array.isArray(results) || results.length !== releases.length) {
      throw new IpamError("unavailable", `The IPAM answered ${releases.length} releases with something else`);
    }
    return results;
  }

  /** False when the port is no longer what the fence says, or is gone already: nothing was done. */
  async deletePort(name: string, fence: Required<PortPrecondition>): Promise<boolean> {
    const query = new URLSearchParams({ id: fence.id, epoch: String(fence.epoch) });
    try {
      await this.#transport.call("DELETE", `${portPath(name)}?${query}`);
      return true;
    } catch (error) {
      if (error instanceof IpamError && (error.code === "conflict" || error.code === "not_found")) return false;
      throw error;
    }
  }

  async readLastSeq(): Promise<number> {
    const answer = (await this.#transport.call("GET", "/v1/events?limit=1")) as { lastSeq?: unknown };
    if (typeof answer.lastSeq !== "number")
      throw new IpamError("unavailable", "The IPAM answered events without lastSeq");
    return answer.lastSeq;
  }

  /** Calls back for each event after `after`, resuming where the stream broke, until the signal aborts. */
  async followEvents(
    after: number,
    onEvent: (event: MooringEvent) => void,
    onError: (error: IpamError) => void,
    signal: AbortSignal,
  ): Promise<void> {
    let last = after;
    for (let failures = 0; !signal.aborted; ) {
      const silence = new AbortController();
      const timer = setTimeout(() => silence.abort(), SILENCE_MS);
      try {
        const both = AbortSignal.any([signal, silence.signal]);
        const codec = new EventStreamCodec();
        for await (const chunk of await this.#transport.stream(`/v1/events?after=${last}`, both)) {
          timer.refresh();
          failures = 0;
          for (const event of codec.push(chunk)) {
            onEvent(event);
            last = event.seq;
          }
        }
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        onError(IpamError.from(error));
      } finally {
        clearTimeout(timer);
      }
      const delayMs = Math.min(15_000, 250 * 2 ** Math.min(failures, 6));
      await sleep(delayMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** Port names hold slashes; the whole name is one segment of the path. */
const portPath = (name: string) => `/v1/ports/${encodeURIComponent(name)}`;
