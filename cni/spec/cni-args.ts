import { CNI_CODES, CniError } from "./cni-error.ts";

/** The parsed CNI_ARGS; keys as Kubernetes' runtimes and the CNI conventions name them. */
interface CniArgs {
  podNamespace?: string;
  podName?: string;
  podUid?: string;
  ip?: string;
  mac?: string;
}

const FIELDS: Record<string, keyof CniArgs> = {
  K8S_POD_NAMESPACE: "podNamespace",
  K8S_POD_NAME: "podName",
  K8S_POD_UID: "podUid",
  IP: "ip",
  MAC: "mac",
};
/** Accepted and unused: CNI_CONTAINERID already identifies the sandbox. */
const IGNORED = new Set(["IgnoreUnknown", "K8S_POD_INFRA_CONTAINER_ID"]);

/**
 * Parses `KEY=VALUE` pairs joined by semicolons. Throws on an unknown key unless `IgnoreUnknown=1` or `true` is given.
 */
export function parseCniArgs(text: string): CniArgs {
  const pairs = text.split(";").filter(pair => pair.trim() !== "");
  const entries = pairs.map((pair): [string, string] => {
    const equals = pair.indexOf("=");
    if (equals < 1) throw invalid(`CNI_ARGS: ${JSON.stringify(pair)} is not KEY=VALUE`);
    return [pair.slice(0, equals).trim(), pair.slice(equals + 1).trim()];
  });
  const ignoreUnknown = entries.some(([key, value]) => key === "IgnoreUnknown" && /^(1|t|true)$/i.test(value));

  const args: CniArgs = {};
  const unknown: string[] = [];
  for (const [key, value] of entries) {
    const field = Object.hasOwn(FIELDS, key) ? FIELDS[key] : undefined;
    if (field !== undefined) {
      if (value !== "") args[field] = value;
    } else if (!IGNORED.has(key)) unknown.push(key);
  }
  if (unknown.length > 0 && !ignoreUnknown) {
    throw invalid(`CNI_ARGS: unknown ${unknown.join(", ")}: remove it or add IgnoreUnknown=1`);
  }
  if ((args.podName === undefined) !== (args.podNamespace === undefined)) {
    throw invalid("CNI_ARGS: K8S_POD_NAMESPACE and K8S_POD_NAME go together: give both or neither");
  }
  return args;
}

function invalid(message: string): CniError {
  return new CniError(CNI_CODES.invalidEnvironment, message);
}
