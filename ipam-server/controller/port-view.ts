import type { MooringEvent, Port } from "../contract/index.ts";
import { GAP, IpamError } from "../contract/index.ts";
import { inParallel } from "../process/in-parallel.ts";
import type { IpamClient } from "./ipam-client.ts";

export interface PortViewOptions {
  client: Pick<IpamClient, "readPorts" | "readPort" | "readLastSeq" | "followEvents">;
  cluster: string;
  onEvent?(event: MooringEvent, before: Port | undefined): void;
  onError?(error: IpamError): void;
}

/** More changed ports than this are cheaper read as a whole list. */
const FULL_RELOAD_ABOVE = 500;

/**
 * The cluster's ports as the IPAM has them: read once as a whole, then kept by reading again what the event stream says
 * has changed.
 */
export class PortView implements AsyncDisposable {
  readonly #options: PortViewOptions;
  readonly #stop = new AbortController();
  readonly #dirty = new Set<string>();
  #ports = new Map<string, Port>();
  #whole = false;
  #following: Promise<void> | undefined;

  constructor(options: PortViewOptions) {
    this.#options = options;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }

  /** The last known state of a port, without asking. */
  peek(name: string): Port | undefined {
    return this.#ports.get(name);
  }

  /** All ports, with every change that was told of before this call. Rejects with IpamError. */
  async refresh(): Promise<Iterable<Port>> {
    const { client } = this.#options;
    if (this.#following === undefined) {
      // The stream begins before the list, so that nothing falls between the two.
      this.#following = this.#follow(await client.readLastSeq());
    }
    if (!this.#whole || this.#dirty.size > FULL_RELOAD_ABOVE) await this.#readAll();
    else await this.#readDirty();
    return this.#ports.values();
  }

  /** Until disposed of, or until the database turns out to be another one: then the next refresh begins anew. */
  async #follow(after: number): Promise<void> {
    const { client, onError } = this.#options;
    const { signal } = this.#stop;
    const replaced = new AbortController();
    const fail = (error: IpamError) => {
      onError?.(error);
      if (error.code === "conflict") replaced.abort();
    };
    const over = AbortSignal.any([signal, replaced.signal]);
    await client.followEvents(after, event => this.#note(event), fail, over);
    if (signal.aborted) return;
    this.markAllStale();
    this.#following = undefined;
  }

  /** What was seen is doubted: the next refresh reads this port again. */
  markStale(name: string): void {
    this.#dirty.add(name);
  }

  /** The next refresh reads everything again. */
  markAllStale(): void {
    this.#whole = false;
  }

  async #readAll(): Promise<void> {
    this.#dirty.clear();
    const ports = await this.#options.client.readPorts(this.#options.cluster, this.#stop.signal);
    this.#ports = new Map(ports.map(port => [port.name, port]));
    this.#whole = true;
  }

  async #readDirty(): Promise<void> {
    const names = [...this.#dirty];
    this.#dirty.clear();
    try {
      await inParallel(16, names, async name => {
        const port = await this.#options.client.readPort(name);
        if (port?.cluster === this.#options.cluster) this.#ports.set(name, port);
        else this.#ports.delete(name);
      });
    } catch (error) {
      for (const name of names) this.#dirty.add(name);
      throw IpamError.from(error);
    }
  }

  #note(event: MooringEvent): void {
    if (event.type === GAP) this.markAllStale();
    if (event.port === undefined) return;
    const before = this.#ports.get(event.port);
    const isOurs = event.cluster === this.#options.cluster || before !== undefined;
    // A server that does not tell the cluster leaves only the name to go by.
    if (!isOurs && !event.port.startsWith(`${this.#options.cluster}/`)) return;
    this.#options.onEvent?.(event, before);
    // Plane states say nothing about who owns what, and are the most frequent of all.
    if (event.type !== "port.state") this.#dirty.add(event.port);
  }
}
