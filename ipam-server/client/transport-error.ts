import { IpamError } from "../contract/ipam-error.ts";

/** The exchange did not end with an answer. */
export class TransportError extends Error {
  override readonly name = "TransportError";
  /** False when the server surely has not seen the request. */
  readonly maybeReceived: boolean;

  constructor(message: string, maybeReceived: boolean, cause: unknown) {
    super(message, { cause });
    this.maybeReceived = maybeReceived;
  }
}

/** True when a failed request may nevertheless have been carried out. */
export function mayHaveBeenCarriedOut(error: unknown): boolean {
  if (!(error instanceof IpamError)) return true;
  if (error.cause instanceof TransportError) return error.cause.maybeReceived;
  return error.code === "internal" || error.code === "unavailable";
}
