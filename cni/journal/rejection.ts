import { ERROR_CODES } from "../../ipam-server/contract/error-codes.ts";
import type { IpamError } from "../../ipam-server/contract/ipam-error.ts";

/** Whether a refusal is about what was asked: an IPAM that is away, or does not know its caller, says nothing of an address. */
export function isFinalRejection({ code }: IpamError): boolean {
  return ERROR_CODES[code].http < 500 && code !== "unauthenticated" && code !== "forbidden";
}
