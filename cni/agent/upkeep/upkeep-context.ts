import type { Logger } from "pino";
import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import type { KubeEvents } from "../../../ipam-server/kube/kube-events.ts";
import type { NodeDatapath } from "../../datapath/node-datapath.ts";
import type { Journal } from "../../journal/journal.ts";
import type { KeyedQueue } from "../calls/keyed-queue.ts";
import type { AgentConfig } from "../config.ts";
import type { AgentIpam } from "../ipam/agent-ipam.ts";
import type { Leases } from "../leases/leases.ts";
import type { UnreportedLeases } from "../leases/unreported-leases.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { PodSource } from "../pod/pods.ts";
import type { HeldPorts } from "../ports/held-ports.ts";

/**
 * What upkeep (fencing, sweeps, bridges, installation) works with. All of it is the agent's own, open, and outlives upkeep.
 */
export interface UpkeepContext {
  config: AgentConfig;
  ipam: AgentIpam;
  /** As `openDatapath` gives it. */
  datapath: NodeDatapath;
  pods: PodSource;
  /** For what only upkeep asks: whether the agent is being uninstalled. */
  api: Pick<KubeApi, "get">;
  /** For what the IPAM cannot be told now; the agent delivers it. */
  journal: Journal;
  /** Drop a port here when its binding turned out to be elsewhere or gone, before it is unplugged. */
  held: HeldPorts;
  /** Drop a lease here when it turned out to be ended. */
  leases: Pick<Leases, "ports" | "isInUse" | "dropWhere">;
  /** A sandbox's end goes behind what the IPAM has yet to hear of it. */
  unreported: Pick<UnreportedLeases, "has" | "releaseAfterClaim">;
  /**
   * Unplug only inside `turns.take(sandboxKey(sandboxId, ifname), ...)`, and look again once inside: CNI calls of the
   * sandbox take their turns there too.
   */
  queue: KeyedQueue;
  /** Kubernetes events on pods. */
  events: KubeEvents;
  metrics: AgentMetrics;
  log: Logger;
}

/** Resolves once the node can serve (its bridges are there); goes on in the background until disposed of. */
export type StartUpkeep = (context: UpkeepContext) => Promise<AsyncDisposable>;
