import { ERROR_CODES } from "../contract/error-codes.ts";
import { IpamError } from "../contract/ipam-error.ts";

/** How long a call may take with all its attempts, and how often it is sent again after a failure. */
export interface RetryPolicy {
  timeoutMs: number;
  retries: number;
}

/** Pauses between attempts; a call is sent again at most once per pause. */
export const BACKOFF_MS = [25, 100, 400, 1000] as const;

export const MAX_RETRIES = BACKOFF_MS.length;

/** A release that a runtime or the fence waits for; the journal delivers it when this fails. */
export const RELEASE_POLICY: RetryPolicy = { timeoutMs: 3000, retries: 1 };

/** A release in the background, where the next pass sends it again. */
export const BACKGROUND_RELEASE_POLICY: RetryPolicy = { timeoutMs: 3000, retries: 0 };

/** The report at the end of ADD; the agent or the journal sends it again when this fails. */
export const REPORT_POLICY: RetryPolicy = { timeoutMs: 1000, retries: 0 };

/** Returns the policy of one attempt, for callers that repeat by their own schedule. */
export function buildSingleAttempt(timeoutMs: number): RetryPolicy {
  return { timeoutMs, retries: 0 };
}

/** Bounds what a server can ask for, because a proxy may ask for a day. */
const MAX_RETRY_AFTER_SECONDS = 60;

/**
 * Returns the pause before the same call: the caller's own, or the longer one that a server asked for that cannot serve
 * now (503). Jitter is added, so that clients that were refused together do not return together.
 */
export function deriveRetryDelay(error: unknown, backoffMs: number): number {
  if (!(error instanceof IpamError) || ERROR_CODES[error.code].http !== 503) return backoffMs;
  const { retryAfterSeconds = 0 } = error.details;
  const askedMs = Math.min(retryAfterSeconds, MAX_RETRY_AFTER_SECONDS) * 1000;
  return Math.max(backoffMs, askedMs * (1 + Math.random() / 2));
}
