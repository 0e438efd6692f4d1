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

/** Options of the upkeep; part of the agent's options. */
export const UPKEEP_OPTIONS = {
  uplinks: {
    about: "interfaces to add to the provider bridges, such as br-ex:eth1; default: none",
    placeholder: "pairs",
    parse: parseUplinks,
  },
  datapathType: {
    about: "datapath type of created OVS bridges: system (kernel), netdev (userspace) or auto",
    placeholder: "type",
    default: "auto",
    parse: oneOf("auto", "system", "netdev"),
  },
  daemonSet: {
    about: "the agent's own DaemonSet; if it is deleted when the agent stops, the agent uninstalls from the node",
    placeholder: "namespace/name",
    parse: parseDaemonSet,
  },
  sweepGrace: {
    about: "grace period before an abandoned port is removed",
    placeholder: "duration",
    default: "30s",
    parse: parseDurationMs,
  },
} as const;
