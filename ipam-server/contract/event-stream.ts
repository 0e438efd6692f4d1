import type { MooringEvent } from "./event.ts";
import { IpamError } from "./ipam-error.ts";

/** The last message of a stream that its server ends: not an event of the outbox; its data is `{"reason": ...}`. */
export const STREAM_END = "end";

/**
 * Server-Sent Events (WHATWG HTML, section 9.2) as the IPAM sends them: returns the parsed `data` of each event.
 * Throws when one event is longer than the cap or its data is not JSON, and `unavailable` when the server
 * ends the stream with a reason.
 */
export class EventStreamCodec {
  readonly #decoder = new TextDecoder("utf-8", { fatal: true });
  readonly #maxLength: number;
  #rest = "";
  #id = "";
  #lastId: number | undefined;
  #type: string | undefined;
  #data: string[] = [];

  constructor(maxLength = 1024 * 1024) {
    this.#maxLength = maxLength;
  }

  /** Where to resume, past filtered events too. Undefined before the first message. */
  get lastId(): number | undefined {
    return this.#lastId;
  }

  push(chunk: Uint8Array): MooringEvent[] {
    const events: MooringEvent[] = [];
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > this.#maxLength)
      throw new RangeError(`an event is longer than ${this.#maxLength} characters`);
    for (const line of lines.map(each => each.replace(/\r$/, ""))) {
      if (line.startsWith("data:")) this.#data.push(line.slice(line[5] === " " ? 6 : 5));
      if (line.startsWith("event:")) this.#type = line.slice("event:".length).trim();
      if (line.startsWith("id:")) this.#id = line.slice("id:".length).trim();
      if (line === "" && /^\d{1,15}$/.test(this.#id)) this.#lastId = Number(this.#id);
      if (line !== "" || this.#data.length === 0) continue;
      const data = this.#data.join("\n");
      if (this.#type === STREAM_END) throw streamEndError(data);
      events.push(parseEvent(data));
      this.#type = undefined;
      this.#data = [];
    }
    return events;
  }
}

function streamEndError(data: string): IpamError {
  const { reason } = JSON.parse(data);
  return new IpamError("unavailable", `the IPAM ended the stream of events: ${reason}`);
}

function parseEvent(data: string): MooringEvent {
  const event = JSON.parse(data);
  if (typeof event?.seq !== "number" || typeof event.type !== "string") {
    throw new TypeError("the IPAM sent an event without seq or type");
  }
  return event;
}
