import { TransportError, UnexpectedAnswerError } from "../client/transport-error.ts";
import type { IpamError } from "../contract/index.ts";
import { CtlError } from "./ctl-error.ts";

/**
 * Returns CtlError `unreachable` if no Mooring server answered in time; keeps the server's own errors. `method` decides
 * whether the change may have been made.
 */
export function toCtlError(error: IpamError, method: string, server: string, timeoutMs: number): Error {
  const { cause } = error;
  if (cause instanceof UnexpectedAnswerError) return unexpectedAnswerError(cause, server);
  if (!(cause instanceof TransportError)) return error;
  if (cause.failure === "timeout") {
    const outcome = method === "GET" ? "" : "; the change may have been made: the same command can safely be run again";
    return new CtlError("unreachable", `${server} gave no answer within ${timeoutMs} ms${outcome}`, {
      advice: "Increase --timeout, or check the server: mooringctl status.",
      cause,
    });
  }
  if (cause.failure === "broken-off") {
    return new CtlError("unreachable", `the answer of ${server} broke off half way`, {
      advice: "Its log may say why; try again.",
      cause,
    });
  }
  return new CtlError("unreachable", `cannot reach the IPAM at ${server}: ${formatReason(cause.cause)}`, {
    advice: "Check that it runs, and that --server, MOORING_SERVER or the configuration file names it.",
    cause,
  });
}

function unexpectedAnswerError(cause: UnexpectedAnswerError, server: string): CtlError {
  if ("missingField" in cause.found) {
    return new CtlError("unreachable", `the server's answer has no ${JSON.stringify(cause.found.missingField)}`, {
      advice: "Check that --server names a Mooring IPAM of the same version as mooringctl.",
      cause,
    });
  }
  const { status } = cause.found;
  return new CtlError("unreachable", `${server} answered HTTP ${status}, but not as a Mooring IPAM does`, {
    advice: "Check that --server (or MOORING_SERVER) names the IPAM and not another service or a proxy.",
    cause,
  });
}

/** For `localhost` Node tries several addresses, and each failure has its own message. */
function formatReason(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(formatReason).join("; ");
  return error instanceof Error ? error.message : String(error);
}
