import type { FullIpamClient } from "../client/client.ts";
import type { MooringEvent, Port } from "../contract/index.ts";
import { GAP, IpamError } from "../contract/index.ts";
import { inParallel } from "../process/in-parallel.ts";

interface PortViewOptions {
  client: Pick<FullIpamClient, "listPorts" | "findPort" | "readLastSeq" | "followEvents">;
  cluster: string;
  onEvent?(event: MooringEvent, before: Port | undefined): void;
  onError?(error: IpamError): void;
}

/** Above this number of changed ports one complete list is cheaper than single reads. */
const FULL_RELOAD_ABOVE = 500;

/** Caches the cluster's ports: lists them once, then reads those again that the event stream reports as changed. */
export class PortView implements AsyncDisposable {
  readonly #options: PortViewOptions;
  readonly #stop = new AbortController();
  readonly #dirty = new Set<string>();
  #ports = new Map<string, Port>();
  #isSynced = false;
  #following: Promise<void> | undefined;

  constructor(options: PortViewOptions) {
    this.#options = options;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#following;
  }

  /** Returns the cached port. */
  peek(name: string): Port | undefined {
    return this.#ports.get(name);
  }

  /** Returns all ports, including every change received before this call. Rejects with IpamError. */
  async refresh(): Promise<Iterable<Port>> {
    const { client } = this.#options;
    if (this.#following === undefined) {
      // The stream starts before the list, so that no change is missed between the two.
      this.#following = this.#follow(await client.readLastSeq());
    }
    if (!this.#isSynced || this.#dirty.size > FULL_RELOAD_ABOVE) await this.#readAll();
    else await this.#readDirty();
    return this.#ports.values();
  }

  /** Follows events until disposed, or until the database was replaced; then the next refresh reloads everything. */
  async #follow(after: number): Promise<void> {
    const { client, onError } = this.#options;
    const { signal } = this.#stop;
    const replaced = new AbortController();
    const fail = (error: IpamError) => {
      onError?.(error);
      if (error.code === "conflict") replaced.abort();
    };
    const ended = AbortSignal.any([signal, replaced.signal]);
    await client.followEvents({ after }, event => this.#handleEvent(event), fail, ended);
    if (signal.aborted) return;
    this.markAllStale();
    this.#following = undefined;
  }

  /** Makes the next refresh read this port again. */
  markStale(name: string): void {
    this.#dirty.add(name);
  }

  /** Makes the next refresh list all ports again. */
  markAllStale(): void {
    this.#isSynced = false;
  }

  async #readAll(): Promise<void> {
    this.#dirty.clear();
    const ports = await this.#options.client.listPorts({ cluster: this.#options.cluster }, this.#stop.signal);
    this.#ports = new Map(ports.map(port => [port.name, port]));
    this.#isSynced = true;
  }

  async #readDirty(): Promise<void> {
    const names = [...this.#dirty];
    this.#dirty.clear();
    try {
      await inParallel(16, names, async name => {
        const port = await this.#options.client.findPort(name);
        if (port?.cluster === this.#options.cluster) this.#ports.set(name, port);
        else this.#ports.delete(name);
      });
    } catch (error) {
      for (const name of names) this.#dirty.add(name);
      throw IpamError.from(error);
    }
  }

  #handleEvent(event: MooringEvent): void {
    if (event.type === GAP) this.markAllStale();
    if (event.port === undefined) return;
    const before = this.#ports.get(event.port);
    const isOurs = event.cluster === this.#options.cluster || before !== undefined;
    // Older servers omit the cluster; the name then decides.
    if (!isOurs && !event.port.startsWith(`${this.#options.cluster}/`)) return;
    this.#options.onEvent?.(event, before);
    // Plane states do not affect ownership and are the most frequent events.
    if (event.type !== "port.state") this.#dirty.add(event.port);
  }
}
