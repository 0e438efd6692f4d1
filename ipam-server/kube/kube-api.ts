import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { text } from "node:stream/consumers";
import type { KubeConfig } from "@kubernetes/client-node";
import { JsonLines } from "./json-lines.ts";
import { KubeError } from "./kube-error.ts";
import { type ListPage, readListPage, readStatusMessage, readWatchEvent, type WatchEvent } from "./objects.ts";

type KubeMethod = "GET" | "POST" | "PUT" | "DELETE" | "PATCH";
type KubeQuery = Record<string, string | number | boolean | undefined>;

interface KubeList {
  items: unknown[];
  resourceVersion: string;
}

const PAGE = 500;
/**
 * The server ends a watch after one to two times this, so that those who began together do not end together. Bookmarks arrive
 * about every minute, so a longer gap means a broken connection.
 */
const WATCH_SECONDS = 300;
const WATCH_IDLE_MS = 120_000;

/**
 * The few calls of the Kubernetes API that Mooring makes, on the credentials of a KubeConfig (rotating tokens
 * included). Every call has a deadline and rejects with KubeError.
 */
export class KubeApi {
  readonly #config: KubeConfig;
  readonly #timeoutMs: number;
  readonly #server: string;

  constructor(config: KubeConfig, timeoutMs = 15_000) {
    const server = config.getCurrentCluster()?.server;
    if (server === undefined) throw new KubeError(0, "the kubeconfig names no cluster in its current context");
    this.#config = config;
    this.#timeoutMs = timeoutMs;
    this.#server = server.replace(/\/+$/, "");
  }

  get(path: string, query?: KubeQuery, signal?: AbortSignal): Promise<unknown> {
    return this.call("GET", path, { ...(query && { query }), ...(signal && { signal }) });
  }

  async call(
    method: KubeMethod,
    path: string,
    {
      query,
      body,
      contentType,
      signal,
    }: { query?: KubeQuery; body?: unknown; contentType?: string; signal?: AbortSignal } = {},
  ): Promise<unknown> {
    const timeout = AbortSignal.timeout(this.#timeoutMs);
    const both = signal ? AbortSignal.any([signal, timeout]) : timeout;
    try {
      const response = await this.#open(method, path, query, body, contentType, both);
      const answer = await text(response);
      const status = response.statusCode ?? 0;
      if (status < 200 || status > 299)
        throw new KubeError(status, `${method} ${path}: ${readStatusMessage(answer, status)}`);
      return JSON.parse(answer);
    } catch (error) {
      if (timeout.aborted)
        throw new KubeError(0, `${method} ${path}: no answer within ${this.#timeoutMs} ms`, { cause: error });
      throw KubeError.from(error);
    }
  }

  /**
   * The whole list as etcd has it now (a quorum read: no resourceVersion is sent, so no cache answers), all pages or an
   * error: never a part.
   */
  async list(path: string, signal?: AbortSignal): Promise<KubeList> {
    try {
      return await this.#listPages(path, PAGE, signal);
    } catch (error) {
      // The snapshot of the pages was compacted while they were read: list without pages.
      if (error instanceof KubeError && error.status === 410) return this.#listPages(path, undefined, signal);
      throw error;
    }
  }

  /**
   * The whole list from the API server's watch cache, which does not read etcd: not older than the version, and without one
   * as old as the cache. The server filters it by an index, so that it costs what it returns.
   */
  async listCached(path: string, version = "0", signal?: AbortSignal): Promise<KubeList> {
    try {
      const { items, resourceVersion } = readListPage(await this.get(path, { resourceVersion: version }, signal), path);
      return { items, resourceVersion };
    } catch (error) {
      // The cache does not reach the version: it lags, or etcd was restored from a backup.
      if (error instanceof KubeError && (error.status === 410 || error.status === 504)) return this.list(path, signal);
      throw error;
    }
  }

  async #listPages(path: string, limit: number | undefined, signal: AbortSignal | undefined): Promise<KubeList> {
    const items: unknown[] = [];
    let page: ListPage;
    let next: string | undefined;
    do {
      page = readListPage(await this.get(path, { limit, continue: next }, signal), path);
      items.push(...page.items);
      next = page.next;
    } while (next !== undefined);
    return { items, resourceVersion: page.resourceVersion };
  }

  /**
   * Calls back for each change after the version, until the server ends the watch (returns), the signal aborts
   * (returns) or something fails (rejects; status 410: the version is too old, list again).
   */
  async watch(
    path: string,
    resourceVersion: string,
    onEvent: (event: WatchEvent) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const idle = new AbortController();
    const timer = setTimeout(() => idle.abort(), WATCH_IDLE_MS);
    const both = AbortSignal.any([signal, idle.signal]);
    const timeoutSeconds = Math.ceil(WATCH_SECONDS * (1 + Math.random()));
    const query = { watch: true, resourceVersion, allowWatchBookmarks: true, timeoutSeconds };
    try {
      const response = await this.#open("GET", path, query, undefined, undefined, both);
      const status = response.statusCode ?? 0;
      if (status !== 200)
        throw new KubeError(status, `watch ${path}: ${readStatusMessage(await text(response), status)}`);
      const lines = new JsonLines();
      for await (const chunk of response) {
        timer.refresh();
        for (const line of lines.push(chunk)) onEvent(readWatchEvent(line, path));
      }
    } catch (error) {
      if (signal.aborted) return;
      if (idle.signal.aborted) throw new KubeError(0, `watch ${path}: no data for ${WATCH_IDLE_MS} ms`);
      throw KubeError.from(error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #open(
    method: KubeMethod,
    path: string,
    query: KubeQuery | undefined,
    body: unknown,
    contentType = "application/json",
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const url = new URL(this.#server + path);
    for (const [key, value] of Object.entries(query ?? {}))
      if (value !== undefined) url.searchParams.set(key, String(value));
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const options: RequestOptions = { method, signal };
    await this.#config.applyToHTTPSOptions(options);
    const headers = { ...options.headers, accept: "application/json", ...(payload && { "content-type": contentType }) };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const open = url.protocol === "https:" ? httpsRequest : httpRequest;
    open(url, { ...options, headers })
      .on("response", resolve)
      .on("error", reject)
      .end(payload);
    return promise;
  }
}
