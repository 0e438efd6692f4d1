import { type ErrorCode, IpamError } from "../contract/index.ts";
import { OptionError } from "../process/options.ts";
import { CtlError, EXIT_CODES, type ExitCode } from "./ctl-error.ts";
import type { Io } from "./io.ts";

const MAX_PORTS_SHOWN = 20;

/** For some error codes, the command that shows more. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  not_found: "List what exists: mooringctl get networks, mooringctl get ports.",
  no_matching_network: "See the networks and their labels: mooringctl get networks -o wide.",
  no_address_available: "See how full the subnets are: mooringctl get subnets.",
  address_in_use: "See which port has it: mooringctl trace ADDRESS.",
  port_in_use: "See where it is bound: mooringctl describe port NAME.",
  overloaded: "Try again in a moment.",
  unavailable: "Try again in a moment; check the server: mooringctl status.",
  internal: "See the server's log.",
};

/** Prints what failed and what to do, without a stack trace, and returns the exit code. */
export async function reportError(error: unknown, io: Pick<Io, "stderr">): Promise<ExitCode> {
  if (isBrokenPipe(error)) return EXIT_CODES.ok;
  if (error instanceof CtlError) {
    await io.stderr.write(`mooringctl: ${error.message}\n${error.advice === undefined ? "" : `  ${error.advice}\n`}`);
    return EXIT_CODES[error.kind];
  }
  if (error instanceof OptionError) {
    await io.stderr.write(`mooringctl: ${error.message}\n`);
    return EXIT_CODES.usage;
  }
  await io.stderr.write(`mooringctl: ${formatIpamError(IpamError.from(error))}`);
  return EXIT_CODES.refused;
}

/** True if the reader of the pipe has closed it (`mooringctl get ports | head`). */
function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EPIPE";
}

/** Returns the server's message, the field, the conflicting ports and the command that shows more. */
export function formatIpamError(error: IpamError): string {
  const { field, ports = [], retryAfterSeconds } = error.details;
  const lines = [error.message];
  if (field !== undefined && !error.message.includes(field)) lines.push(`field: ${field}`);
  if (ports.length > 0) lines.push(`conflicting ports: ${formatPorts(ports)}`);
  if (retryAfterSeconds !== undefined) lines.push(`Retry after ${retryAfterSeconds} s.`);
  const advice = ADVICE[error.code];
  if (advice !== undefined) lines.push(advice);
  return `${lines.join("\n  ")}\n`;
}

function formatPorts(ports: readonly string[]): string {
  const rest = ports.length - MAX_PORTS_SHOWN;
  return ports.slice(0, MAX_PORTS_SHOWN).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
