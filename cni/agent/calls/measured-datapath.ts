import type { Datapath } from "../../datapath/attachment.ts";
import type { AgentMetrics } from "../metrics.ts";

/** The agent's open datapath for one call, with `plug` and `unplug` timed. Disposing of it closes nothing. */
export function measureDatapath(datapath: Datapath, metrics: AgentMetrics, command: string): Datapath {
  return {
    plug: (...args) => metrics.time(command, "plug", datapath.plug(...args)),
    probe: wanted => datapath.probe(wanted),
    unplug: (...args) => metrics.time(command, "unplug", datapath.unplug(...args)),
    check: attachment => datapath.check(attachment),
    list: () => datapath.list(),
    ready: bridges => datapath.ready(bridges),
    async [Symbol.asyncDispose]() {},
  };
}
