import { setTimeout as sleep } from "node:timers/promises";

interface BackgroundLoopOptions {
  /**
   * One pass; resolves with the milliseconds until the next, or undefined after the last. The signal aborts on disposal. Must
   * handle its own failures: a rejection ends the loop and rejects `ended`.
   */
  pass(signal: AbortSignal): Promise<number | undefined>;
  /** Before the first pass. Default 0. */
  initialDelayMs?: number;
  /** Share by which a pause varies at random, so that many nodes do not call one server together: 0.5 is 75 % to 125 %. */
  jitter?: number;
  /** Ends the loop as disposal does. */
  signal?: AbortSignal;
}

/** Repeats a pass until disposed of. Passes never overlap; `wake` cuts the pause short. */
export class BackgroundLoop implements AsyncDisposable {
  /** Resolves when the last pass has ended. */
  readonly ended: Promise<void>;
  readonly #options: BackgroundLoopOptions;
  readonly #stop = new AbortController();
  #wake = new AbortController();

  constructor(options: BackgroundLoopOptions) {
    this.#options = options;
    this.ended = this.#run();
  }

  /** Aborts when the loop is to end. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Starts the next pass now, or right after the current one. Several calls before it starts are one. */
  wake(): void {
    this.#wake.abort();
  }

  /** Resolves after the current pass, which should observe its signal. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.ended;
  }

  async #run(): Promise<void> {
    const { pass, jitter = 0, initialDelayMs, signal: outer } = this.#options;
    const stop = () => this.#stop.abort();
    if (outer?.aborted) stop();
    outer?.addEventListener("abort", stop, { once: true });
    const { signal } = this.#stop;
    // The first pass may use the loop's owner, whose constructor must have returned.
    await null;
    try {
      if (initialDelayMs !== undefined) await this.#pause(initialDelayMs);
      while (!signal.aborted) {
        this.#wake = new AbortController();
        const pauseMs = await pass(signal);
        if (pauseMs === undefined) return;
        await this.#pause(withJitter(pauseMs, jitter));
      }
    } finally {
      outer?.removeEventListener("abort", stop);
    }
  }

  #pause(ms: number): Promise<void> {
    return pause(ms, AbortSignal.any([this.#stop.signal, this.#wake.signal]));
  }
}

/** Resolves after the time, or as soon as the signal aborts. Never rejects. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

/** Resolves when the signal aborts; at once if it has. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise(resolve => signal.addEventListener("abort", resolve, { once: true }));
}

/** The time, varied at random by the share: 0.5 gives 75 % to 125 % of it. */
export function withJitter(ms: number, share: number): number {
  return ms * (1 + share * (Math.random() - 0.5));
}
