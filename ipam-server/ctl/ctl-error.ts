/** Exit codes, for scripts. */
export const EXIT_CODES = { ok: 0, refused: 1, usage: 2, unreachable: 3 } as const;
export type ExitCode = (typeof EXIT_CODES)[keyof typeof EXIT_CODES];

interface CtlErrorDetails {
  /** What the user can do about it. */
  advice?: string;
  cause?: unknown;
}

/**
 * A failure of mooringctl itself: wrong usage, no connection, or a refused action. The server's errors are IpamErrors.
 */
export class CtlError extends Error {
  override readonly name = "CtlError";
  readonly kind: "usage" | "unreachable" | "refused";
  readonly advice: string | undefined;

  constructor(kind: "usage" | "unreachable" | "refused", message: string, details: CtlErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.advice = details.advice;
  }
}
