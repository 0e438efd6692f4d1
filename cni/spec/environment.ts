import { CNI_CODES, CniError } from "./cni-error.ts";

export const COMMANDS = ["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"] as const;
export type Command = (typeof COMMANDS)[number];

export type Environment = Record<string, string | undefined>;

/** Required variables by verb (spec 1.1, section 2). CNI_PATH is optional because no other plugin is executed. */
const REQUIRED: Record<Command, readonly string[]> = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
  STATUS: [],
  GC: [],
  VERSION: [],
};

/** The call's parsed environment; fields that a verb does not require may be empty. */
export interface Invocation {
  containerId: string;
  /** Undefined when the netns is already deleted; only DEL and GC accept that. */
  netns: string | undefined;
  ifname: string;
  /** CNI_ARGS as given. */
  args: string;
}

export function parseCommand(env: Environment): Command {
  const command = env.CNI_COMMAND ?? "";
  if (command === "") throw invalid("CNI_COMMAND is not set: a container runtime sets it to one of the CNI verbs");
  const known = COMMANDS.find(name => name === command);
  if (known === undefined) throw invalid(`CNI_COMMAND ${command} is unknown: expected one of ${COMMANDS.join(", ")}`);
  return known;
}

export function parseInvocation(command: Command, env: Environment): Invocation {
  const missing = REQUIRED[command].filter(name => (env[name] ?? "") === "");
  if (missing.length > 0) throw invalid(`${command} needs ${missing.join(", ")} in its environment`);

  const containerId = env.CNI_CONTAINERID ?? "";
  if (containerId !== "" && !/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(containerId)) {
    throw invalid(`CNI_CONTAINERID ${JSON.stringify(containerId)} must be letters, digits, "_", "." or "-"`);
  }
  const ifname = env.CNI_IFNAME ?? "";
  if (ifname !== "" && (ifname.length > 15 || ifname === "." || ifname === ".." || /[/:\s]/.test(ifname))) {
    throw invalid(
      `CNI_IFNAME ${JSON.stringify(ifname)} is not an interface name: at most 15 characters, no "/", ":" or space`,
    );
  }
  return { containerId, netns: env.CNI_NETNS || undefined, ifname, args: env.CNI_ARGS ?? "" };
}

function invalid(message: string): CniError {
  return new CniError(CNI_CODES.invalidEnvironment, message);
}
