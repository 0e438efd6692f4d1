import { oneOf, parseDurationMs } from "../../../ipam-server/process/option-parsers.ts";
import type { Uplink } from "../../datapath/bridges/bridge-plan.ts";

function parseUplinks(text: string): Uplink[] {
  return text.split(",").map(pair => {
    const [bridge = "", port = "", ...rest] = pair.trim().split(":");
    if (bridge === "" || port === "" || rest.length > 0) {
      throw new Error("is not pairs of bridge and interface, such as br-ex:eth1");
    }
    return { bridge, port };
  });
}

function parseDaemonSet(text: string): { namespace: string; name: string } {
  const [, namespace, name] = /^([a-z0-9-]+)\/([a-z0-9.-]+)$/.exec(text) ?? [];
  if (namespace === undefined || name === undefined) throw new Error("is not NAMESPACE/NAME");
  return { namespace, name };
}

/** What the agent's upkeep of its node takes; part of the agent's options. */
export const UPKEEP_OPTIONS = {
  uplinks: {
    about: "interfaces to add to the bridges that lead out, such as br-ex:eth1; without it that is the administrator's",
    placeholder: "pairs",
    parse: parseUplinks,
  },
  datapathType: {
    about: "of the OVS bridges the agent makes: system (kernel), netdev (userspace) or auto",
    placeholder: "type",
    default: "auto",
    parse: oneOf("auto", "system", "netdev"),
  },
  daemonSet: {
    about: "the agent's own DaemonSet; when it is gone as the agent ends, the node is left as it was found",
    placeholder: "namespace/name",
    parse: parseDaemonSet,
  },
  sweepGrace: {
    about: "how long something must have looked abandoned before a fresh look takes it away",
    placeholder: "duration",
    default: "30s",
    parse: parseDurationMs,
  },
} as const;
