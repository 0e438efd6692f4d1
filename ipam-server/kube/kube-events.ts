import type { KubeApi } from "./kube-api.ts";
import { KubeError } from "./kube-error.ts";
import { record, text } from "./objects.ts";

/** What a Kubernetes event is about. */
export interface Subject {
  apiVersion: string;
  kind: string;
  namespace: string;
  name: string;
  uid?: string;
}

export interface KubeEvent {
  subject: Subject;
  type: "Normal" | "Warning";
  /** CamelCase, one word or few, as `kubectl get events` shows it. */
  reason: string;
  message: string;
}

interface KubeEventsOptions {
  api: Pick<KubeApi, "call">;
  /** Shown as the source, such as `mooring-controller`. */
  component: string;
  host?: string;
  now(): number;
  onError?(error: KubeError): void;
}

/** The same event within this time is counted up instead of written again. */
const REPEAT_MS = 10 * 60_000;
const REMEMBERED = 4096;
/** Events are a courtesy: what comes faster is dropped, as the API server's own limiter would. */
const PER_SECOND = 10;
const BURST = 100;

/** Writes Kubernetes events (core/v1), the same one once. Never rejects: what cannot be written is reported and dropped. */
export class KubeEvents implements AsyncDisposable {
  readonly #options: KubeEventsOptions;
  readonly #written = new Map<string, { name: string; count: number; at: number }>();
  #queue: Promise<void> = Promise.resolve();
  #tokens = BURST;
  #refilledAt: number;
  #serial = 0;

  constructor(options: KubeEventsOptions) {
    this.#options = options;
    this.#refilledAt = options.now();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue;
  }

  write(event: KubeEvent): void {
    if (!this.#take()) return;
    this.#queue = this.#queue
      .then(() => this.#send(event))
      .catch(error => this.#options.onError?.(KubeError.from(error)));
  }

  async #send(event: KubeEvent): Promise<void> {
    const { subject, reason, message } = event;
    const now = this.#options.now();
    const key = [subject.kind, subject.namespace, subject.name, subject.uid, reason, message].join("\0");
    const before = this.#written.get(key);
    this.#written.delete(key);
    const repeats = before !== undefined && now - before.at < REPEAT_MS ? before : undefined;
    const isCounted = repeats !== undefined && (await this.#countUp(event, repeats.name, repeats.count + 1, now));
    if (isCounted) this.#written.set(key, { name: repeats.name, count: repeats.count + 1, at: now });
    else this.#written.set(key, { name: await this.#create(event, now), count: 1, at: now });
    if (this.#written.size > REMEMBERED) this.#written.delete(this.#written.keys().next().value ?? "");
  }

  /** False when the API server has forgotten the event by now. */
  async #countUp({ subject }: KubeEvent, name: string, count: number, now: number): Promise<boolean> {
    const path = `${eventsPath(subject)}/${name}`;
    const body = { count, lastTimestamp: new Date(now).toISOString() };
    try {
      await this.#options.api.call("PATCH", path, { body, contentType: "application/merge-patch+json" });
      return true;
    } catch (error) {
      if (error instanceof KubeError && error.status === 404) return false;
      throw error;
    }
  }

  async #create({ subject, type, reason, message }: KubeEvent, now: number): Promise<string> {
    const { component, host } = this.#options;
    const time = new Date(now).toISOString();
    const suffix = `${now.toString(16)}${(this.#serial++ & 0xffff).toString(16).padStart(4, "0")}`;
    const body = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${subject.name.slice(0, 200)}.${suffix}`, namespace: subject.namespace },
      involvedObject: subject,
      type,
      reason,
      message: message.slice(0, 1024),
      source: { component, ...(host && { host }) },
      reportingComponent: component,
      reportingInstance: host ?? component,
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
    const answer = await this.#options.api.call("POST", eventsPath(subject), { body });
    return text(record(record(answer, "event").metadata, "event.metadata").name, "event.metadata.name");
  }

  #take(): boolean {
    const now = this.#options.now();
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#refilledAt) / 1000) * PER_SECOND);
    this.#refilledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

const eventsPath = ({ namespace }: Subject) => `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`;
