import { BackgroundLoop } from "../process/background-loop.ts";
import type { KubeApi } from "./kube-api.ts";
import { KubeError } from "./kube-error.ts";

export interface ReflectorOptions<T> {
  api: Pick<KubeApi, "list" | "watch">;
  path: string;
  read(value: unknown): T;
  /** Unique among the objects of the path. */
  keyOf(item: T): string;
  /** The API may not know the resource (a CRD that is not installed): asked again now and then, without a complaint. */
  mayBeAbsent?: boolean;
  onError?(error: KubeError): void;
  /** After each change of the copy; a list tells what is no longer in it, and then all that is. */
  onChange?(type: "present" | "gone", item: T): void;
  /** Before the next attempt; for tests. */
  delayMs?(failures: number, error: KubeError): number;
}

const ABSENT_RETRY_MS = 60_000;
/** A server or proxy that ends watches sooner than this is not asked again at once. */
const SHORT_WATCH_MS = 1000;

/**
 * A copy of one resource, kept by list and watch: `unlisted -> list -> watch -> (ends) watch -> (410) list`.
 * It may lag. It is good for suspicion and for showing names, never for taking something away.
 */
export class Reflector<T> implements AsyncDisposable {
  readonly #options: ReflectorOptions<T>;
  readonly #loop: BackgroundLoop;
  #failures = 0;
  #items: Map<string, T> | undefined;
  #resourceVersion: string | undefined;
  #heardAt: number | undefined;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#loop = new BackgroundLoop({ pass: signal => this.#pass(signal) });
  }

  /** Undefined until a whole list was read, and while the API does not know the resource. */
  get items(): ReadonlyMap<string, T> | undefined {
    return this.#items;
  }

  /** When the API server said something last (Date.now()); undefined before the first whole list. */
  get heardAt(): number | undefined {
    return this.#heardAt;
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
    const { api, path, read, keyOf, onChange } = this.#options;
    const { items, resourceVersion } = await api.list(path, signal);
    const before = this.#items;
    const now = new Map(items.map(read).map(item => [keyOf(item), item]));
    this.#items = now;
    this.#heardAt = Date.now();
    for (const [key, item] of before ?? []) if (!now.has(key)) onChange?.("gone", item);
    for (const item of now.values()) onChange?.("present", item);
    return resourceVersion;
  }

  #apply(event: { type: string; object?: unknown; resourceVersion: string }): void {
    this.#heardAt = Date.now();
    if (event.type !== "BOOKMARK") {
      const { read, keyOf, onChange } = this.#options;
      const item = read(event.object);
      if (event.type === "DELETED") this.#items?.delete(keyOf(item));
      else this.#items?.set(keyOf(item), item);
      onChange?.(event.type === "DELETED" ? "gone" : "present", item);
    }
    this.#resourceVersion = event.resourceVersion;
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
