import type { IncomingMessage } from "node:http";
import { IpamError } from "../../contract/index.ts";
import type { Caller } from "../../domain/model/caller.ts";

/**
 * Event streams of each kind have places of their own, so that browsers and scripts never take those of agents. `perCaller`
 * stops one faulty client; it leaves room for streams whose broken connection the server has not yet detected.
 */
export const STREAM_LIMITS = {
  agent: { places: 10_000, perCaller: 8 },
  controller: { places: 500, perCaller: 50 },
  other: { places: 500, perCaller: 50 },
} as const;
export type StreamKind = keyof typeof STREAM_LIMITS;
export const STREAM_KINDS = Object.keys(STREAM_LIMITS) as StreamKind[];

interface StreamPlacesOptions {
  limits?: Readonly<Record<StreamKind, { places: number; perCaller: number }>>;
  onChange?(kind: StreamKind, open: number): void;
  onRefused?(kind: StreamKind): void;
}

const RETRY_AFTER_SECONDS = 5;
/** Until callers have identities, Mooring's own programs are known by the start of their User-Agent. */
const AGENT = /^mooring-agent\b/;
const CONTROLLER = /^mooring-controller\b/;

/** Counts the open event streams of one server. */
export class StreamPlaces {
  readonly #options: StreamPlacesOptions;
  readonly #open: Record<StreamKind, number> = { agent: 0, controller: 0, other: 0 };
  readonly #ofCaller = new Map<string, number>();

  constructor(options: StreamPlacesOptions = {}) {
    this.#options = options;
  }

  /** Takes a place until it is disposed of. Throws `overloaded` if the kind or the caller has no place left. */
  reserve(caller: Caller, { headers }: IncomingMessage, host: string | undefined): Disposable {
    const { limits = STREAM_LIMITS } = this.#options;
    const userAgent = headers["user-agent"] ?? "";
    const kind = classifyStream(userAgent, host);
    const { places, perCaller } = limits[kind];
    // Agents behind one proxy share its address, so that each counts by its host.
    const key = JSON.stringify([caller.name, userAgent, kind === "agent" && host]);
    const ofCaller = this.#ofCaller.get(key) ?? 0;
    if (this.#open[kind] >= places) this.#refuse(kind, `all ${places} event streams for ${NAMES[kind]} are in use`);
    if (ofCaller >= perCaller) {
      const forHost = kind === "agent" ? ` for host ${host}` : "";
      this.#refuse(kind, `${caller.name} has ${ofCaller} event streams open${forHost}, the most for one caller`);
    }
    this.#ofCaller.set(key, ofCaller + 1);
    this.#change(kind, 1);
    return {
      [Symbol.dispose]: () => {
        const left = (this.#ofCaller.get(key) ?? 1) - 1;
        if (left === 0) this.#ofCaller.delete(key);
        else this.#ofCaller.set(key, left);
        this.#change(kind, -1);
      },
    };
  }

  #change(kind: StreamKind, by: 1 | -1): void {
    this.#open[kind] += by;
    this.#options.onChange?.(kind, this.#open[kind]);
  }

  #refuse(kind: StreamKind, why: string): never {
    this.#options.onRefused?.(kind);
    throw new IpamError("overloaded", `${why}; close some, or try again in ${RETRY_AFTER_SECONDS} s`, {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    });
  }
}

const NAMES: Readonly<Record<StreamKind, string>> = {
  agent: "agents",
  controller: "controllers",
  other: "other programs than agents and controllers",
};

function classifyStream(userAgent: string, host: string | undefined): StreamKind {
  if (host !== undefined && AGENT.test(userAgent)) return "agent";
  return CONTROLLER.test(userAgent) ? "controller" : "other";
}
