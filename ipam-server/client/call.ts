import { ERROR_CODES } from "../contract/error-codes.ts";
import { IpamError } from "../contract/ipam-error.ts";
import { parseFailure, parseJson, unexpectedAnswer } from "./answers.ts";
import { BACKOFF_MS, deriveRetryDelay, type RetryPolicy } from "./retry-policy.ts";
import type { Request, Transport } from "./transport.ts";
import { TransportError } from "./transport-error.ts";

export interface CallContext {
  url: string;
  /** Opens the transport at the first call. */
  open(): Promise<Transport>;
  signal?: AbortSignal;
}

/**
 * Sends one idempotent call. Retries while the server is unreachable or answers 503, within the policy's time, and
 * rejects with IpamError: `unavailable` if no answer came.
 */
export async function sendCall<T>(
  { url, open, signal }: CallContext,
  request: Request,
  parse: (value: unknown, status: number) => T,
  { timeoutMs, retries }: RetryPolicy,
): Promise<T> {
  const timeout = AbortSignal.timeout(timeoutMs);
  const deadline = performance.now() + timeoutMs;
  const ended = signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
  let maybeReceived = false;
  for (let attempt = 0; ; attempt++) {
    let failure: IpamError;
    let delayMs: number | undefined = BACKOFF_MS[attempt];
    try {
      const transport = await open();
      const { status, body, retryAfter } = await transport.exchange(request, ended, deadline - performance.now());
      const value = parseJson(body);
      if (status >= 200 && status < 300) {
        if (value === undefined && body !== "") throw unexpectedAnswer(status, url);
        return parse(value, status);
      }
      failure = parseFailure(status, value, url, retryAfter);
      if (ERROR_CODES[failure.code].http !== 503) throw failure;
      if (delayMs !== undefined) delayMs = deriveRetryDelay(failure, delayMs);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      maybeReceived ||= error.maybeReceived;
      failure = unreachableError(url, error, maybeReceived, timeout.aborted ? timeoutMs : undefined);
    }
    if (ended.aborted || attempt >= retries || delayMs === undefined) throw failure;
    if (!(await waitUnlessEnded(delayMs, ended))) throw failure;
  }
}

function unreachableError(url: string, error: TransportError, maybeReceived: boolean, timedOutMs?: number): IpamError {
  const reason = timedOutMs === undefined ? error.message : `no answer within ${timedOutMs} ms`;
  const failure = timedOutMs === undefined ? error.failure : "timeout";
  const message = `the IPAM at ${url} cannot be reached (${reason}): check that it runs and the way to it`;
  return new IpamError("unavailable", message, {
    cause: new TransportError(error.message, maybeReceived, error.cause, failure),
  });
}

/** Returns false if the call ended first. */
function waitUnlessEnded(delayMs: number, ended: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const stop = () => resolve(false);
  const timer = setTimeout(() => resolve(true), delayMs);
  ended.addEventListener("abort", stop, { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    ended.removeEventListener("abort", stop);
  });
}
