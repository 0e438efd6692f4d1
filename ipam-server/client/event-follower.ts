import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { EventStreamCodec } from "../contract/event-stream.ts";
import { IpamError, type MooringEvent } from "../contract/index.ts";
import { parseFailure } from "./answers.ts";

export interface EventFollowerOptions {
  url: string;
  /** PEM. */
  ca?: string;
  headers(): Promise<Record<string, string>>;
  /** Only what is about this host. */
  host: string;
}

/** The server says something more often than this. */
const SILENCE_MS = 60_000;

/** See `AgentIpam.followEvents`. */
export async function followEvents(
  options: EventFollowerOptions,
  after: number,
  onEvent: (event: MooringEvent) => void,
  onError: (error: IpamError) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = after;
  for (let failures = 0; !signal.aborted; ) {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), SILENCE_MS);
    try {
      const codec = new EventStreamCodec();
      for await (const chunk of await open(options, last, AbortSignal.any([signal, silence.signal]))) {
        timer.refresh();
        failures = 0;
        for (const event of codec.push(chunk)) {
          onEvent(event);
          last = event.seq;
        }
        // A quiet host's own last event is long ago: from there the IPAM would have to look through all that came since.
        last = codec.lastId ?? last;
      }
    } catch (error) {
      if (signal.aborted) return;
      failures++;
      onError(IpamError.from(error));
    } finally {
      clearTimeout(timer);
    }
    // Not all nodes at the same moment, when a server is back.
    const pauseMs = Math.min(15_000, 250 * 2 ** Math.min(failures, 6)) * (0.5 + Math.random() / 2);
    await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
  }
}

async function open(
  { url, ca, headers, host }: EventFollowerOptions,
  after: number,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const isSecure = url.startsWith("https:");
  const query = new URLSearchParams({ after: String(after), host });
  const request = (isSecure ? httpsRequest : httpRequest)(`${url}/v1/events?${query}`, {
    headers: { accept: "text/event-stream, application/problem+json", ...(await headers()) },
    signal,
    ...(isSecure && { minVersion: "TLSv1.3" as const, ...(ca !== undefined && { ca }) }),
  });
  request.on("response", resolve).on("error", reject).end();
  const response = await promise.catch((cause: Error) => {
    throw new IpamError("unavailable", `the IPAM at ${url} gave no event stream: ${cause.message}`, { cause });
  });
  if (response.statusCode === 200) return response;
  throw parseFailure(response.statusCode ?? 0, parseJson(await text(response)), url);
}

/** What is no JSON is told apart by its status alone. */
function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
