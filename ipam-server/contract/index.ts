export { ERROR_CODES, type ErrorCode } from "./error-codes.ts";
export { IpamError, type IpamErrorDetails } from "./ipam-error.ts";
export * from "./transfer.ts";
export * from "./types.ts";
