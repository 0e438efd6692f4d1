import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { KubeConfig } from "@kubernetes/client-node";

type Json = Record<string, unknown>;
interface Stored extends Json {
  metadata: Json & { name: string; namespace: string; uid: string; resourceVersion: string };
}
interface Change {
  version: number;
  resource: string;
  type: "ADDED" | "MODIFIED" | "DELETED";
  object: Stored;
  before?: Stored;
}
interface Scope {
  resource: string;
  namespace: string | undefined;
  /** Of `fieldSelector=spec.nodeName=X`, the one selector that is understood. */
  nodeName: string | undefined;
}

/**
 * As much of the Kubernetes API as the controller uses, in memory over real HTTP: lists in pages, watches that resume
 * and expire, optimistic writes, and faults on demand. Objects are addressed by `group/resource`, such as
 * `/apis/apps/v1/statefulsets`.
 */
export class FakeKubeApi implements AsyncDisposable {
  readonly #server: Server;
  readonly #resources = new Map<string, Map<string, Stored>>();
  readonly #watches = new Map<ServerResponse, Scope>();
  #log: Change[] = [];
  #version = 100;
  #oldest = 100;
  #serial = 0;
  /** Answers requests whose `METHOD /path?query` matches with this status, until it is taken out. */
  readonly faults = new Map<RegExp, number>();
  /** Every `METHOD /path?query` received. */
  readonly requests: string[] = [];

  private constructor(server: Server, resources: string[]) {
    this.#server = server;
    for (const resource of resources) this.#resources.set(resource, new Map());
  }

  static async start(resources: string[], host = "127.0.0.1"): Promise<FakeKubeApi> {
    const server = createServer();
    const api = new FakeKubeApi(server, resources);
    server.on("request", (request, response) => {
      api.#serve(request, response).catch(error => answer(response, 500, { message: String(error) }));
    });
    await new Promise<void>(resolve => server.listen(0, host, resolve));
    return api;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise(resolve => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("not listening");
    return `http://${address.address}:${address.port}`;
  }

  kubeConfig(): KubeConfig {
    const config = new KubeConfig();
    const server = this.url;
    config.loadFromClusterAndUser({ name: "fake", server, skipTLSVerify: true }, { name: "me" });
    return config;
  }

  put(resource: string, object: { metadata: { name: string; namespace: string; uid?: string } } & Json): Stored {
    const items = this.#items(resource);
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    const before = items.get(key);
    const uid = object.metadata.uid ?? before?.metadata.uid ?? `uid-${++this.#serial}`;
    const version = ++this.#version;
    const stored = { ...object, metadata: { ...object.metadata, uid, resourceVersion: String(version) } };
    items.set(key, stored);
    this.#notify({ version, resource, type: before ? "MODIFIED" : "ADDED", object: stored, ...(before && { before }) });
    return stored;
  }

  remove(resource: string, namespace: string, name: string): void {
    const object = this.#items(resource).get(`${namespace}/${name}`);
    if (object === undefined) return;
    this.#items(resource).delete(`${namespace}/${name}`);
    const version = ++this.#version;
    const last = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    this.#notify({ version, resource, type: "DELETED", object: last, before: object });
  }

  items(resource: string): Stored[] {
    return [...this.#items(resource).values()];
  }

  /** Forgets the past, as etcd's compaction does: watches of it end with 410, and open ones are cut. */
  compact(): void {
    this.#log = [];
    this.#oldest = ++this.#version;
    this.cutWatches();
  }

  cutWatches(): void {
    for (const response of this.#watches.keys()) response.destroy();
  }

  #items(resource: string): Map<string, Stored> {
    const items = this.#resources.get(resource);
    if (items === undefined) throw new Error(`the fake has no ${resource}`);
    return items;
  }

  #notify(change: Change): void {
    this.#log.push(change);
    for (const [response, watch] of this.#watches) sendChange(response, watch, change);
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const url = new URL(request.url ?? "/", "http://fake");
    const line = `${request.method} ${url.pathname}${url.search}`;
    this.requests.push(line);
    const fault = [...this.faults].find(([pattern]) => pattern.test(line));
    if (fault) return answer(response, fault[1], { kind: "Status", message: "a fault on demand" });

    const match =
      /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?(?:\/status)?$/.exec(
        url.pathname,
      );
    const [, group, namespace, plural, name] = match ?? [];
    const resource = `${group}/${plural}`;
    if (!this.#resources.has(resource)) return answer(response, 404, { kind: "Status", message: "no such resource" });
    if (request.method === "GET" && name === undefined) {
      if (url.searchParams.get("watch") === "true") return this.#watch(response, resource, namespace, url.searchParams);
      return this.#list(response, resource, namespace, url.searchParams);
    }
    const body = request.method === "GET" ? undefined : (JSON.parse(await text(request)) as Stored);
    return this.#one(request.method ?? "", response, resource, namespace ?? "", name, body);
  }

  #list(response: ServerResponse, resource: string, namespace: string | undefined, query: URLSearchParams): void {
    const scope = { resource, namespace, nodeName: readNodeName(query) };
    const all = this.items(resource).filter(item => isWithin(item, scope));
    const from = Number(query.get("continue") ?? 0);
    const to = from + Number(query.get("limit") ?? all.length);
    const metadata = { resourceVersion: String(this.#version), ...(to < all.length && { continue: String(to) }) };
    answer(response, 200, { kind: "List", metadata, items: all.slice(from, to) });
  }

  #watch(response: ServerResponse, resource: string, namespace: string | undefined, query: URLSearchParams): unknown {
    const after = Number(query.get("resourceVersion"));
    if (after < this.#oldest) return answer(response, 410, { kind: "Status", code: 410, message: "too old" });
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const watch = { resource, namespace, nodeName: readNodeName(query) };
    for (const change of this.#log) if (change.version > after) sendChange(response, watch, change);
    this.#watches.set(response, watch);
    response.on("close", () => this.#watches.delete(response));
    return response;
  }

  #one(
    method: string,
    response: ServerResponse,
    resource: string,
    namespace: string,
    name: string | undefined,
    body: Stored | undefined,
  ): unknown {
    const before = this.#items(resource).get(`${namespace}/${name ?? body?.metadata.name}`);
    if (method === "POST" && body) {
      if (before) return answer(response, 409, { kind: "Status", message: "already exists" });
      return answer(response, 201, this.put(resource, { ...body, metadata: { ...body.metadata, namespace } }));
    }
    if (before === undefined) return answer(response, 404, { kind: "Status", message: "not found" });
    if (method === "GET") return answer(response, 200, before);
    if (method === "PATCH") {
      const status = mergeStatus(before.status as Json | undefined, body?.status as Json | undefined);
      const isOther = body?.metadata?.uid !== undefined && body.metadata.uid !== before.metadata.uid;
      if (isOther) return answer(response, 409, { kind: "Status", message: "another UID" });
      const patched = { ...before, ...body, ...(status && { status }), metadata: before.metadata };
      return answer(response, 200, this.put(resource, patched));
    }
    if (method === "PUT" && body) {
      const isCurrent = body.metadata.resourceVersion === before.metadata.resourceVersion;
      if (!isCurrent) return answer(response, 409, { kind: "Status", message: "the object has been modified" });
      return answer(response, 200, this.put(resource, body));
    }
    return answer(response, 405, { kind: "Status", message: "not done by the fake" });
  }
}

/** As a strategic merge patch does: conditions are merged by their type. */
function mergeStatus(before: Json | undefined, patch: Json | undefined): Json | undefined {
  if (patch === undefined) return before;
  const [old, changed] = [before?.conditions, patch.conditions].map(list => (list ?? []) as { type: string }[]);
  const kept = (old ?? []).filter(({ type }) => !changed?.some(each => each.type === type));
  return { ...before, ...patch, conditions: [...kept, ...(changed ?? [])] };
}

/** As a watch with a selector sees it: what comes into its sight is added, what leaves it is deleted. */
function sendChange(response: ServerResponse, scope: Scope, { resource, type, object, before }: Change) {
  if (resource !== scope.resource) return;
  const was = before !== undefined && isWithin(before, scope);
  const is = type !== "DELETED" && isWithin(object, scope);
  if (!was && !is) return;
  const seen = was && is ? "MODIFIED" : is ? "ADDED" : "DELETED";
  response.write(`${JSON.stringify({ type: seen, object })}\n`);
}

function isWithin(item: Stored, { namespace, nodeName }: Scope): boolean {
  if (namespace !== undefined && item.metadata.namespace !== namespace) return false;
  return nodeName === undefined || (item.spec as Json | undefined)?.nodeName === nodeName;
}

function readNodeName(query: URLSearchParams): string | undefined {
  return /^spec\.nodeName=(.+)$/.exec(query.get("fieldSelector") ?? "")?.[1];
}

function answer(response: ServerResponse, status: number, body: Json): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}
