import { setTimeout as sleep } from "node:timers/promises";
import type { MooringEvent } from "../contract/event.ts";
import { EventStreamCodec } from "../contract/event-stream.ts";
import { IpamError } from "../contract/ipam-error.ts";
import { deriveRetryDelay } from "./retry-policy.ts";
import type { OpenStream } from "./streams.ts";

export interface EventFilter {
  /** Streams events with a greater sequence number. */
  after: number;
  /** Only events of ports bound to this host, or just released or moved from it. */
  host?: string;
}

/** Above the server's keep-alive interval: a stream without any byte for so long is dead. */
const DEAD_STREAM_MS = 60_000;
const BACKOFF = { firstMs: 250, maxMs: 15_000 };

/**
 * Streams events. Reconnects and resumes until the signal aborts, no sooner than a refusal asks for; `onError` receives
 * each break.
 */
export async function followEvents(
  openStream: OpenStream,
  { after, host }: EventFilter,
  onEvent: (event: MooringEvent) => void,
  onError: (error: IpamError) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = after;
  for (let failures = 0; !signal.aborted; ) {
    const dead = new AbortController();
    const timer = setTimeout(() => dead.abort(), DEAD_STREAM_MS);
    let failure: IpamError | undefined;
    try {
      const codec = new EventStreamCodec();
      const query = new URLSearchParams({ after: String(last), ...(host !== undefined && { host }) });
      const { chunks } = await openStream({
        method: "GET",
        path: `/v1/events?${query}`,
        accept: "text/event-stream",
        signal: AbortSignal.any([signal, dead.signal]),
      });
      for await (const chunk of chunks) {
        timer.refresh();
        failures = 0;
        for (const event of codec.push(chunk)) {
          onEvent(event);
          last = event.seq;
        }
        // Keep-alives advance the cursor, or a quiet host makes the server rescan the log on reconnect.
        last = codec.lastId ?? last;
      }
    } catch (error) {
      if (signal.aborted) return;
      failures++;
      failure = IpamError.from(error);
      onError(failure);
    } finally {
      clearTimeout(timer);
    }
    // Jitter, so that not all nodes reconnect to a restarted server at once.
    const backoffMs = Math.min(BACKOFF.maxMs, BACKOFF.firstMs * 2 ** Math.min(failures, 6)) * (0.5 + Math.random() / 2);
    await sleep(deriveRetryDelay(failure, backoffMs), undefined, { signal }).catch(() => undefined);
  }
}
