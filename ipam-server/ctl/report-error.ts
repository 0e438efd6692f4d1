import { type ErrorCode, IpamError } from "../contract/index.ts";
import { OptionError } from "../process/options.ts";
import { CtlError, EXIT_CODES, type ExitCode } from "./ctl-error.ts";
import type { Io } from "./io.ts";

const MAX_PORTS_SHOWN = 20;

/** The command that shows more, for those refusals where one does. */
const ADVICE: Partial<Record<ErrorCode, string>> = {
  not_found: "See what there is: mooringctl get networks, mooringctl get ports.",
  no_matching_network: "See the networks and their labels: mooringctl get networks -o wide.",
  no_address_available: "See how full the subnets are: mooringctl get subnets.",
  address_in_use: "See who has it: mooringctl trace ADDRESS.",
  port_in_use: "See where it is bound: mooringctl describe port NAME.",
  overloaded: "Try again in a moment.",
  unavailable: "Try again in a moment; see how the server is: mooringctl status.",
  internal: "The server's log says more.",
};

/** Tells the person what failed and what to do, without a stack trace, and returns the exit code. */
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
  await io.stderr.write(`mooringctl: ${formatRefusal(IpamError.from(error))}`);
  return EXIT_CODES.refused;
}

/** The reader has seen enough (`mooringctl get ports | head`). */
function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EPIPE";
}

/** The server's message, what is in the way, and the command that shows more. */
export function formatRefusal(error: IpamError): string {
  const { field, ports = [], retryAfterSeconds } = error.details;
  const lines = [error.message];
  if (field !== undefined && !error.message.includes(field)) lines.push(`field: ${field}`);
  if (ports.length > 0) lines.push(`ports in the way: ${formatPorts(ports)}`);
  if (retryAfterSeconds !== undefined) lines.push(`The server asks to wait ${retryAfterSeconds} s.`);
  const advice = ADVICE[error.code];
  if (advice !== undefined) lines.push(advice);
  return `${lines.join("\n  ")}\n`;
}

function formatPorts(ports: readonly string[]): string {
  const rest = ports.length - MAX_PORTS_SHOWN;
  return ports.slice(0, MAX_PORTS_SHOWN).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}
