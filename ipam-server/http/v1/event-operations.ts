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

const MAX_STREAMS = 5000;
const WRITE_AT_ONCE = 50;

export interface EventStreamOptions {
  /** A silent stream gets a comment this often, so that both ends notice a broken one. */
  keepAliveMs: number;
  /** A reader that takes longer than this to take what is buffered is cut off; it comes back by its last id. */
  slowReaderMs: number;
  /** Aborted when the server stops: every stream ends with a reason. */
  signal: AbortSignal;
}

export function eventOperations(store: Store, tail: EventTail, options: EventStreamOptions): Operation[] {
  let streams = 0;
  return [
    operation({
      method: "GET",
      path: "/v1/events",
      id: "readEvents",
      summary: "The outbox: a page as JSON, or with Accept: text/event-stream a stream that Last-Event-ID resumes",
      action: "read",
      read: "short",
      query: requests.eventQuery,
      responses: { 200: { about: "Events in order", schema: responses.eventList } },
      async handle({ query, request }) {
        if (!wantsStream(request)) return { status: 200, json: await store.readEvents(query) };
        if (streams >= MAX_STREAMS) {
          throw new IpamError("overloaded", `${streams} event streams are open; come back later`, {
            retryAfterSeconds: 30,
          });
        }
        const { limit: _, after: asked, ...filter } = query;
        const { lastSeq } = await store.readEvents({ limit: 1 });
        const after = lastEventId(request) ?? asked ?? lastSeq;
        if (after > lastSeq) {
          const detail = `after: ${after} is later than the newest event, ${lastSeq}: the database is another one now; compare everything and start from ${lastSeq}`;
          throw new IpamError("conflict", detail, { field: "after" });
        }
        return {
          async stream(response) {
            streams++;
            try {
              await streamEvents(response, tail, filter, after, options);
            } finally {
              streams--;
            }
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
 * Pulls pages and writes them, the next one when the last is out of the buffer: a reader's pace bounds what is kept
 * for it, and one that stands still is cut off.
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
  // Who left before the answer began is not told of any more.
  if (response.destroyed) gone.abort();
  const stop = AbortSignal.any([signal, gone.signal]);
  response.writeHead(200, {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
  });
  // An id without data moves the reader's Last-Event-ID, so that it resumes behind events its filter left out.
  response.write(`: connected\nid: ${after}\n\n`);

  const end = (reason: string) => response.end(`event: ${STREAM_END}\ndata: ${JSON.stringify({ reason })}\n\n`);
  try {
    let wroteAt = performance.now();
    for (let seen = after; !stop.aborted; ) {
      const { events, upTo, gapUpTo } = await tail.read(seen, filter);
      if (gapUpTo !== undefined) events.unshift(describeGap(seen, gapUpTo));
      seen = upTo;
      if (!(await writeEvents(response, events, slowReaderMs, stop))) break;
      if (events.length > 0) wroteAt = performance.now();
      seen = await tail.wait(seen, filter, keepAliveMs, stop);
      // By this clock the wait may end a little early, and the next end would be too late.
      if (stop.aborted || performance.now() - wroteAt < keepAliveMs / 2) continue;
      if (!(await writeAll(response, `: keep-alive\nid: ${seen}\n\n`, slowReaderMs, stop))) break;
      wroteAt = performance.now();
    }
    if (signal.aborted && !gone.signal.aborted) end(STOPPING);
    else response.destroy();
  } catch (error) {
    // The answer has begun: its reader is told here, and comes back by its last id.
    const { code, message } = IpamError.from(error);
    end(code === "internal" ? "a fault in the server; its log says more" : message);
    throw error;
  }
}

/** It takes the number before the oldest event kept, so that who has seen it resumes behind the gap. */
function describeGap(after: number, gapUpTo: number): MooringEvent {
  const message = `events from ${after + 1} to ${gapUpTo} are no longer kept: compare everything`;
  return { seq: gapUpTo, time: new Date().toISOString(), type: GAP, caller: "mooring-ipam", message };
}

/** Whether the reader took them in time. A few at a time: what a slow one has not taken is in memory once for all readers. */
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

/** Whether the reader took it in time. */
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
    // Aborted: the reader is slow or gone, or the server stops, which the loop tells apart.
    return stop.aborted;
  }
}

/** Events in the tail are the same objects for all streams that send them. */
const MESSAGES = new WeakMap<MooringEvent, string>();

function toMessage(event: MooringEvent): string {
  let message = MESSAGES.get(event);
  if (message === undefined) {
    message = `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
    MESSAGES.set(event, message);
  }
  return message;
}
