import type { Command, Environment } from "./spec/environment.ts";
import type { CniVersion } from "./spec/versions.ts";
import { formatVersion, isAtLeast, NEWEST_VERSION } from "./spec/versions.ts";
import type { Verb, VerbBackend } from "./verbs/backend.ts";

/** A container runtime's call before any parsing, so that the launcher can send it to the agent. */
export interface Call {
  env: Environment;
  stdin: string;
}

export interface Answer {
  /** A result, an error document or nothing; printed on stdout. */
  stdout: string;
  exitCode: 0 | 1;
}

/** The spec version that introduced a verb; absent: 0.3.1 or earlier. */
const SINCE: Partial<Record<Command, CniVersion>> = { CHECK: "0.4.0", STATUS: "1.1.0", GC: "1.1.0" };

/** Each verb is loaded when called, because start-up is the main cost of the executable. */
const VERBS: Record<Exclude<Command, "VERSION">, () => Promise<Verb>> = {
  ADD: async () => (await import("./verbs/add.ts")).add,
  DEL: async () => (await import("./verbs/del.ts")).del,
  CHECK: async () => (await import("./verbs/check.ts")).check,
  STATUS: async () => (await import("./verbs/status.ts")).status,
  GC: async () => (await import("./verbs/gc.ts")).gc,
};

/** Never rejects. Failures become the spec's error document (section 5, Error) and exit code 1. */
export async function dispatch(call: Call, backend: VerbBackend): Promise<Answer> {
  if (call.env.CNI_COMMAND === "VERSION") return { stdout: formatVersion(peek(call.stdin, "cniVersion")), exitCode: 0 };
  const { CNI_CODES, CniError } = await import("./spec/cni-error.ts");
  let answerIn: CniVersion = NEWEST_VERSION;
  try {
    const { parseCommand, parseInvocation } = await import("./spec/environment.ts");
    const command = parseCommand(call.env);
    if (command === "VERSION") return { stdout: formatVersion(undefined), exitCode: 0 };
    const { parseDocument, parseNetworkConfig } = await import("./spec/config.ts");
    const { raw, cniVersion } = parseDocument(call.stdin);
    answerIn = cniVersion;
    const since = SINCE[command];
    if (since !== undefined && !isAtLeast(cniVersion, since)) {
      const message = `${command} exists since cniVersion ${since}, the network configuration says ${cniVersion}`;
      throw new CniError(CNI_CODES.incompatibleVersion, message);
    }
    const invocation = parseInvocation(command, call.env);
    const config = parseNetworkConfig(raw, cniVersion, command);
    const verb = await VERBS[command]();
    return { stdout: await verb({ invocation, config, backend }), exitCode: 0 };
  } catch (error) {
    return { stdout: CniError.from(error).toJson(answerIn), exitCode: 1 };
  }
}

/** Returns one text field of stdin before the configuration is validated. */
export function peek(stdin: string, key: string): string | undefined {
  try {
    const value: unknown = JSON.parse(stdin)?.[key];
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
