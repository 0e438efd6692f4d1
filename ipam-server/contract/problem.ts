import type { ErrorCode } from "./error-codes.ts";

/** RFC 9457 problem document with a closed `code`. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  /** The offending field, as a path such as `claims[0].networkSelector`. */
  field?: string;
  /** Further facts, such as the ports in the way of a change. */
  ports?: string[];
  retryAfterSeconds?: number;
}
