import { IpamError } from "../contract/ipam-error.ts";

type TransportFailure = "unreachable" | "timeout" | "broken-off";

/** The exchange did not end with an answer. */
export class TransportError extends Error {
  override readonly name = "TransportError";
  /** False only if the server cannot have received the request. */
  readonly maybeReceived: boolean;
  readonly failure: TransportFailure;

  constructor(message: string, maybeReceived: boolean, cause: unknown, failure: TransportFailure = "unreachable") {
    super(message, { cause });
    this.maybeReceived = maybeReceived;
    this.failure = failure;
  }
}

/** The answer is not one of a Mooring IPAM, or of another version: the cause of the client's IpamError. */
export class UnexpectedAnswerError extends Error {
  override readonly name = "UnexpectedAnswerError";
  readonly found: { status: number } | { missingField: string };

  constructor(message: string, found: { status: number } | { missingField: string }) {
    super(message);
    this.found = found;
  }
}

/** True if a failed request may nevertheless have been carried out. */
export function mayHaveBeenCarriedOut(error: unknown): boolean {
  if (!(error instanceof IpamError)) return true;
  if (error.cause instanceof TransportError) return error.cause.maybeReceived;
  return error.code === "internal" || error.code === "unavailable";
}
