import { ERROR_CODES, type ErrorCode } from "./error-codes.ts";
import type { Problem } from "./problem.ts";

export interface IpamErrorDetails {
  field?: string;
  ports?: string[];
  retryAfterSeconds?: number;
  /** Of an import: the faulty row, counted from 1, if it is not the last one read. */
  row?: number;
  /** An HTTP status finer than the code's own, such as 405 or 413. */
  status?: number;
  cause?: unknown;
}

/** Every failure of the IPAM: a closed code, and a message with the fault and what is accepted. */
export class IpamError extends Error {
  override readonly name = "IpamError";
  readonly code: ErrorCode;
  readonly details: IpamErrorDetails;

  constructor(code: ErrorCode, message: string, details: IpamErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.details = details;
  }

  static from(error: unknown): IpamError {
    if (error instanceof IpamError) return error;
    const message = error instanceof Error ? error.message : String(error);
    return new IpamError("internal", message, { cause: error });
  }

  static fromProblem(problem: Problem): IpamError {
    const { field, ports, retryAfterSeconds } = problem;
    return new IpamError(problem.code, problem.detail, {
      ...(field !== undefined && { field }),
      ...(ports !== undefined && { ports }),
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    });
  }

  /** The RFC 9457 document of this error. */
  toProblem(): Problem {
    const { http, title } = ERROR_CODES[this.code];
    const { field, ports, retryAfterSeconds, status } = this.details;
    return {
      type: `urn:mooring:problem:${this.code}`,
      title,
      status: status ?? http,
      detail: this.message,
      code: this.code,
      ...(field !== undefined && { field }),
      ...(ports !== undefined && { ports }),
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    };
  }
}
