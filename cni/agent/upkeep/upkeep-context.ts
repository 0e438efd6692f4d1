import type { Logger } from "pino";
import type { KubeApi } from "../../../ipam-server/kube/kube-api.ts";
import type { IntegrationBridge } from "../../datapath/bridges/integration-bridges.ts";
import type { NodeDatapath } from "../../datapath/node-datapath.ts";
import type { Journal } from "../../journal/journal.ts";
import type { KeyedQueue } from "../calls/keyed-queue.ts";
import type { AgentConfig } from "../config.ts";
import type { AgentIpam } from "../ipam/agent-ipam.ts";
import type { Leases } from "../leases/leases.ts";
import type { UnreportedLeases } from "../leases/unreported-leases.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { AddressCondition } from "../pod/address-condition.ts";
import type { PodSource } from "../pod/pods.ts";
import type { HeldPorts } from "../ports/held-ports.ts";

/** The agent's shared parts, for upkeep: fencing, sweeps, bridges, installation. They outlive upkeep. */
export interface UpkeepContext {
  config: AgentConfig;
  bridges: readonly IntegrationBridge[];
  ipam: AgentIpam;
  datapath: NodeDatapath;
  pods: PodSource;
  /** Reads whether the agent is being uninstalled. */
  api: Pick<KubeApi, "get" | "list" | "listCached" | "watch">;
  /** For releases while the IPAM is unreachable. The agent delivers it. */
  journal: Journal;
  /** Drop a port here before it is disconnected because its binding has moved or ended. */
  held: HeldPorts;
  /** Drop a lease here when it has ended. */
  leases: Pick<Leases, "ports" | "isInUse" | "dropWhere">;
  /** Journals a sandbox's release after its unreported claim. */
  unreported: Pick<UnreportedLeases, "has" | "releaseAfterClaim">;
  /**
   * Unplug or disconnect only inside `queue.run(sandboxKey(sandboxId, ifname), ...)`, and read the port again inside it,
   * because CNI calls of the sandbox run in the same queue.
   */
  queue: KeyedQueue;
  /** Of pods that lose their address, or get it again. */
  condition: Pick<AddressCondition, "setFault" | "setConnected">;
  metrics: AgentMetrics;
  log: Logger;
}

/** Resolves after the first attempt to ensure the bridges. Runs in the background until disposed of. */
export type StartUpkeep = (context: UpkeepContext) => Promise<AsyncDisposable>;
