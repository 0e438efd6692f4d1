import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { STREAM_END } from "../../contract/event-stream.ts";
import { type EventQuery, GAP, IpamError, type MooringEvent } from "../../contract/index.ts";
import type { Store } from "../../domain/store.ts";
import type { EventTail } from "../../engine/event-tail.ts";
import { type Operation, operation } from "../operation.ts";
import { STOPPING } from "../request-pipeline.ts";
import * as requests from "./schema/requests.ts";
import * as responses from "./schema/responses.ts";
import type { StreamPlaces } from "./stream-places.ts";

const WRITE_AT_ONCE = 50;

interface EventStreamOptions {
  /** An idle stream gets a comment this often, so that both ends detect a broken connection. */
  keepAliveMs: number;
  /** A reader that does not drain its buffer within this time is disconnected; it resumes by its last id. */
  slowReaderMs: number;
  /** Aborted when the server stops: every stream ends with a reason. */
  signal: AbortSignal;
  places: StreamPlaces;
}

export function eventOperations(store: Store, tail: EventTail, options: EventStreamOptions): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/events",
      id: "readEvents",
      summary: "Events: a page as JSON, or with Accept: text/event-stream a stream that Last-Event-ID resumes",
      action: "read",
      read: "short",
      query: requests.eventQuery,
      responses: { 200: { about: "Events in order", schema: responses.eventList } },
      async handle({ caller, query, request }) {
        if (!wantsStream(request)) return { status: 200, json: await store.readEvents(query) };
        using reserved = new DisposableStack();
        reserved.use(options.places.reserve(caller, request, query.host));
        const { limit: _, after: asked, ...filter } = query;
        const { lastSeq } = await store.readEvents({ limit: 1 });
        const after = lastEventId(request) ?? asked ?? lastSeq;
        if (after > lastSeq) {
          const replaced = `the database was replaced; compare everything and start from ${lastSeq}`;
          const detail = `after: ${after} is later than the newest event, ${lastSeq}: ${replaced}`;
          throw new IpamError("conflict", detail, { field: "after" });
        }
        const place = reserved.move();
        return {
          async stream(response) {
            using _ = place;
            await streamEvents(response, tail, filter, after, options);
          },
        };
      },
    }),
  ];
}

const wantsStream = ({ headers }: IncomingMessage): boolean => headers.accept?.includes("text/event-stream") ?? false;

function lastEventId({ headers }: IncomingMessage): number | undefined {
  const text = headers["last-event-id"];
  if (text === undefined || text === "") return undefined;
  if (typeof text === "string" && /^\d{1,15}$/.test(text)) return Number(text);
  throw new IpamError("invalid_request", `Last-Event-ID: "${text}" is not a sequence number`, {
    field: "Last-Event-ID",
  });
}

/**
 * Writes pages of events, each after the previous one has left the buffer, so that a slow reader needs little memory.
 * Disconnects a reader that does not read.
 */
async function streamEvents(
  response: ServerResponse,
  tail: EventTail,
  filter: EventQuery,
  after: number,
  { keepAliveMs, slowReaderMs, signal }: EventStreamOptions,
): Promise<void> {
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  // `close` is not emitted again if the client left before this point.
  if (response.destroyed) gone.abort();
  const stop = AbortSignal.any([signal, gone.signal]);
  response.writeHead(200, {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
  });
  // An id without data advances the reader's Last-Event-ID past events that its filter excludes.
  response.write(`: connected\nid: ${after}\n\n`);

  const end = (reason: string) => response.end(`event: ${STREAM_END}\ndata: ${JSON.stringify({ reason })}\n\n`);
  try {
    let wroteAt = performance.now();
    for (let seen = after; !stop.aborted; ) {
      const { events, upTo, gapUpTo } = await tail.read(seen, filter);
      if (gapUpTo !== undefined) events.unshift(buildGapEvent(seen, gapUpTo));
      seen = upTo;
      if (!(await writeEvents(response, events, slowReaderMs, stop))) break;
      if (events.length > 0) wroteAt = performance.now();
      seen = await tail.wait(seen, filter, keepAliveMs, stop);
      // Timers may fire slightly early, so half the interval is enough.
      if (stop.aborted || performance.now() - wroteAt < keepAliveMs / 2) continue;
      if (!(await writeAll(response, `: keep-alive\nid: ${seen}\n\n`, slowReaderMs, stop))) break;
      wroteAt = performance.now();
    }
    if (signal.aborted && !gone.signal.aborted) end(STOPPING);
    else response.destroy();
  } catch (error) {
    // The response has started, so the error is sent in the stream; the reader resumes by its last id.
    const { code, message } = IpamError.from(error);
    end(code === "internal" ? "internal error; see the server's log" : message);
    throw error;
  }
}

/** Its number is that of the last pruned event, so that a reader that has seen it resumes after the gap. */
function buildGapEvent(after: number, gapUpTo: number): MooringEvent {
  const message = `events from ${after + 1} to ${gapUpTo} are no longer kept: compare everything`;
  return { seq: gapUpTo, time: new Date().toISOString(), type: GAP, caller: "mooring-ipam", message };
}

/**
 * Resolves to false if the reader is too slow. Writes a few events at a time, to keep little in each reader's buffer.
 */
async function writeEvents(
  response: ServerResponse,
  events: readonly MooringEvent[],
  timeoutMs: number,
  stop: AbortSignal,
): Promise<boolean> {
  for (let from = 0; from < events.length && !stop.aborted; from += WRITE_AT_ONCE) {
    const text = events
      .slice(from, from + WRITE_AT_ONCE)
      .map(toMessage)
      .join("");
    if (!(await writeAll(response, text, timeoutMs, stop))) return false;
  }
  return true;
}

/** Resolves to false if the reader did not drain its buffer in time. */
async function writeAll(
  response: ServerResponse,
  text: string,
  timeoutMs: number,
  stop: AbortSignal,
): Promise<boolean> {
  if (response.write(text)) return true;
  const inTime = AbortSignal.any([stop, AbortSignal.timeout(timeoutMs)]);
  try {
    await once(response, "drain", { signal: inTime });
    return true;
  } catch {
    // The reader is slow or gone, or the server stops; the caller distinguishes them.
    return stop.aborted;
  }
}

/** Serialized messages, shared because all streams send the same event objects. */
const MESSAGES = new WeakMap<MooringEvent, string>();

function toMessage(event: MooringEvent): string {
  let message = MESSAGES.get(event);
  if (message === undefined) {
    message = `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
    MESSAGES.set(event, message);
  }
  return message;
}
