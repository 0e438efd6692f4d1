import { BackgroundLoop } from "../process/background-loop.ts";
import type { KubeApi } from "./kube-api.ts";
import { KubeError } from "./kube-error.ts";

interface ReflectorOptions<T> {
  api: Pick<KubeApi, "list" | "listCached" | "watch">;
  path: string;
  read(value: unknown): T;
  /** Unique among the objects of the path. */
  keyOf(item: T): string;
  /** True: few objects in any cluster, listed in one answer from the watch cache. False: all pages, from etcd. */
  isSmall?: boolean;
  /** True: 404 is no error, because the CRD may not be installed; retried every minute. */
  mayBeAbsent?: boolean;
  onError?(error: KubeError): void;
  /** Called after each change. A list reports the items that are gone, then all that are present. */
  onChange?(type: "present" | "gone", item: T): void;
  /** Test hook: the pause before the next attempt. */
  delayMs?(failures: number, error: KubeError): number;
}

const ABSENT_RETRY_MS = 60_000;
/** A watch that ends sooner is followed by a pause, because a proxy may cut every watch. */
const SHORT_WATCH_MS = 1000;

/**
 * A copy of one resource, kept by list and watch: `unlisted -> list -> watch -> (ends) watch -> (410) list`. It never
 * goes back in time. It may lag: use it to suspect and to show names, never to decide a deletion.
 */
export class Reflector<T> implements AsyncDisposable {
  readonly #options: ReflectorOptions<T>;
  readonly #loop: BackgroundLoop;
  #failures = 0;
  #items: Map<string, T> | undefined;
  #resourceVersion: string | undefined;
  /** The newest version of all lists and events, also after it can no longer be watched from. */
  #newest: string | undefined;
  #lastEventAt: number | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#loop = new BackgroundLoop({ pass: signal => this.#pass(signal) });
  }

  /** Undefined until the first complete list, and while the resource does not exist. */
  get items(): ReadonlyMap<string, T> | undefined {
    return this.#items;
  }

  /** Time of the last list or event (Date.now()); undefined before the first list. */
  get lastEventAt(): number | undefined {
    return this.#lastEventAt;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#loop[Symbol.asyncDispose]();
  }

  /** One watch, after a list if there is no version to watch from. Resolves with the milliseconds until the next. */
  async #pass(signal: AbortSignal): Promise<number> {
    const { api, path } = this.#options;
    try {
      this.#resourceVersion ??= await this.#list(signal);
      const began = performance.now();
      await api.watch(path, this.#resourceVersion, event => this.#apply(event), signal);
      this.#failures = 0;
      if (signal.aborted || performance.now() - began >= SHORT_WATCH_MS) return 0;
      return this.#options.delayMs?.(0, new KubeError(0, `watch ${path}: ended immediately`)) ?? SHORT_WATCH_MS;
    } catch (cause) {
      const error = KubeError.from(cause);
      if (signal.aborted) return 0;
      this.#handleFailure(error);
      return this.#options.delayMs?.(this.#failures, error) ?? backoffMs(this.#failures, error);
    }
  }

  async #list(signal: AbortSignal): Promise<string> {
    const { api, path, read, keyOf, onChange, isSmall } = this.#options;
    const listing = isSmall ? api.listCached(path, this.#newest, signal) : api.list(path, signal);
    const { items, resourceVersion } = await listing;
    const before = this.#items;
    const now = new Map(items.map(read).map(item => [keyOf(item), item]));
    this.#items = now;
    this.#newest = resourceVersion;
    this.#lastEventAt = Date.now();
    for (const [key, item] of before ?? []) if (!now.has(key)) onChange?.("gone", item);
    for (const item of now.values()) onChange?.("present", item);
    return resourceVersion;
  }

  #apply(event: { type: string; object?: unknown; resourceVersion: string }): void {
    this.#lastEventAt = Date.now();
    if (event.type !== "BOOKMARK") {
      const { read, keyOf, onChange } = this.#options;
      const item = read(event.object);
      if (event.type === "DELETED") this.#items?.delete(keyOf(item));
      else this.#items?.set(keyOf(item), item);
      onChange?.(event.type === "DELETED" ? "gone" : "present", item);
    }
    this.#resourceVersion = event.resourceVersion;
    this.#newest = event.resourceVersion;
  }

  #handleFailure(error: KubeError): void {
    this.#failures++;
    // After a broken connection the watch resumes. An answer of the server, or a malformed one, is a reason to list again.
    if (error.status !== 0 || !(error.cause instanceof Error)) this.#resourceVersion = undefined;
    const isAbsent = error.status === 404 && this.#options.mayBeAbsent === true;
    if (isAbsent) this.#items = undefined;
    else if (error.status !== 410) this.#options.onError?.(error);
  }
}

function backoffMs(failures: number, error: KubeError): number {
  if (error.status === 404) return ABSENT_RETRY_MS;
  if (error.status === 410 && failures === 1) return 0;
  return Math.min(30_000, 500 * 2 ** Math.min(failures, 6)) * (0.5 + Math.random() / 2);
}
