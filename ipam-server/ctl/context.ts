import type { FullIpamClient } from "../client/client.ts";
import type { ExitCode } from "./ctl-error.ts";
import type { Io } from "./io.ts";

/** What every command receives: input and output, and the wrapper that gives its action a client. */
export interface Context {
  io: Io;
  /**
   * Wraps a command's work as a commander action. The work gets a client, then its arguments and options, and returns
   * the exit code if that is not 0.
   */
  action<Args extends unknown[]>(
    work: (client: FullIpamClient, ...args: Args) => Promise<ExitCode | undefined>,
  ): (...args: Args) => Promise<void>;
}
