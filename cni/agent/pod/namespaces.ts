import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import { KubeError } from "../../../ipam-server/kube/kube-error.ts";
import { type Namespace, readNamespace } from "./pod.ts";

/** More than a node has pods. */
const REMEMBERED = 512;
/** For a read that a remembered answer can replace. */
const READ_TIMEOUT_MS = 2000;

/**
 * The namespaces of this node's pods, read one by one: a watch of all would grow with the cluster and wake every node for
 * each change. The last answer serves while the API server is unreachable.
 */
export class Namespaces {
  readonly #api: Pick<KubeApi, "get">;
  readonly #known = new Map<string, { namespace: Namespace; at: number }>();
  readonly #reading = new Map<string, Promise<Namespace>>();

  constructor(api: Pick<KubeApi, "get">) {
    this.#api = api;
  }

  /**
   * Returns the namespace, read at most `maxAgeMs` ago if the API server answers. A missing one has no annotations. Rejects
   * with KubeError if it was never read and cannot be.
   */
  async find(name: string, maxAgeMs: number): Promise<Namespace> {
    const known = this.#known.get(name);
    if (known !== undefined && performance.now() - known.at < maxAgeMs) return known.namespace;
    try {
      return await this.#readOnce(name, known !== undefined);
    } catch (error) {
      if (known !== undefined) return known.namespace;
      throw error;
    }
  }

  /** Reads the namespace in the background, so that it is known when it is needed and while the API server is unreachable. */
  prepare(name: string): void {
    void this.#readOnce(name, false).catch(() => undefined);
  }

  /** Reads of one namespace that overlap share one request. */
  #readOnce(name: string, isKnown: boolean): Promise<Namespace> {
    const running = this.#reading.get(name);
    if (running !== undefined) return running;
    const reading = this.#read(name, isKnown).finally(() => this.#reading.delete(name));
    this.#reading.set(name, reading);
    return reading;
  }

  async #read(name: string, isKnown: boolean): Promise<Namespace> {
    const at = performance.now();
    const namespace = await this.#get(name, isKnown ? AbortSignal.timeout(READ_TIMEOUT_MS) : undefined);
    this.#known.delete(name);
    this.#known.set(name, { namespace, at });
    if (this.#known.size > REMEMBERED) this.#known.delete(this.#known.keys().next().value ?? "");
    return namespace;
  }

  async #get(name: string, signal: AbortSignal | undefined): Promise<Namespace> {
    try {
      return readNamespace(await this.#api.get(`/api/v1/namespaces/${encodeURIComponent(name)}`, undefined, signal));
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return { name, annotations: {} };
      throw error;
    }
  }
}
