import { ERROR_CODES } from "../../ipam-server/contract/error-codes.ts";
import type { IpamError } from "../../ipam-server/contract/ipam-error.ts";

/**
 * True if the rejection concerns the request itself. An unreachable IPAM, or one that rejects the caller, decides
 * nothing.
 */
export function isFinalRejection({ code }: IpamError): boolean {
  return ERROR_CODES[code].http < 500 && code !== "unauthenticated" && code !== "forbidden";
}
