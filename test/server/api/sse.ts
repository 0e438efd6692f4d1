import { get, type IncomingMessage } from "node:http";
import type { MooringEvent } from "../../../ipam-server/contract/index.ts";

export interface SseMessage {
  id?: string;
  event?: string;
  data?: string;
}

/** An open event stream, read message by message. */
export class EventStream implements AsyncDisposable {
  readonly #messages: AsyncGenerator<SseMessage>;
  readonly #response: IncomingMessage;

  private constructor(response: IncomingMessage) {
    this.#response = response;
    this.#messages = parse(response);
  }

  static async open(url: string, headers: Record<string, string> = {}): Promise<EventStream> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    get(url, { headers: { Accept: "text/event-stream", ...headers }, agent: false }, resolve).once("error", reject);
    const response = await promise;
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
    return new EventStream(response);
  }

  /** The next message; undefined at the end. */
  async next(timeoutMs = 20_000): Promise<SseMessage | undefined> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new Error("no message came")), timeoutMs);
    try {
      const { value } = await Promise.race([this.#messages.next(), late.promise]);
      return value as SseMessage | undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The next n events; messages without data are passed over. */
  async events(count: number): Promise<MooringEvent[]> {
    const events: MooringEvent[] = [];
    while (events.length < count) {
      const message = await this.next();
      if (message === undefined) throw new Error(`the stream ended after ${events.length} events`);
      if (message.data !== undefined) events.push(JSON.parse(message.data) as MooringEvent);
    }
    return events;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#response.destroy();
  }
}

async function* parse(response: IncomingMessage): AsyncGenerator<SseMessage> {
  let buffer = "";
  response.setEncoding("utf8");
  for await (const chunk of response) {
    buffer += chunk;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = block.split("\n").filter(line => !line.startsWith(":"));
      yield Object.fromEntries(
        fields.map(line => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
      );
    }
  }
}
