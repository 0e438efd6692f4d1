import type { Logger } from "pino";
import type { Claim } from "../../ipam-server/contract/index.ts";
import type { IntegrationBridge } from "../datapath/bridges/integration-bridges.ts";
import type { NodeDatapath } from "../datapath/node-datapath.ts";
import { describeError } from "../spec/cni-error.ts";
import { KeyedQueue } from "./calls/keyed-queue.ts";
import { AddressProbes } from "./claims/address-probes.ts";
import { Confirmations } from "./claims/confirmations.ts";
import { type AgentIpam, type AgentIpamOptions, createAgentIpam } from "./ipam/agent-ipam.ts";
import { Delivery } from "./ipam/delivery.ts";
import { Journals } from "./ipam/journals.ts";
import { Leases } from "./leases/leases.ts";
import { UnreportedLeases } from "./leases/unreported-leases.ts";
import type { AgentMetrics } from "./metrics.ts";
import type { AddressCondition } from "./pod/address-condition.ts";
import { HeldPorts } from "./ports/held-ports.ts";
import { loadHeld } from "./ports/load-held.ts";
import { RejectedPorts } from "./ports/rejected-ports.ts";

interface NodeCoreOptions {
  nodeName: string;
  ipam: AgentIpamOptions;
  journalDir: string;
  /** Disconnects ports that the IPAM rejects, and probes addresses claimed for pods to come. */
  datapath: Pick<NodeDatapath, "fence" | "probe">;
  bridges: readonly IntegrationBridge[];
  condition: Pick<AddressCondition, "setFault">;
  metrics: AgentMetrics;
  log: Logger;
  /** True if the claim may be granted any address. See `canUseLease`. */
  canUseLease(claim: Claim): boolean;
  /** Milliseconds of a clock that nothing sets and that counts while the machine sleeps. */
  now(): number;
  /** Loads the node's bindings from the IPAM. Without it the core starts as synced and empty. */
  loadsHeldPorts: boolean;
  /** Restores unreported leases from the journals, and delivers the journals in the background. */
  delivers: boolean;
}

/** What a node remembers and owes the IPAM, wired together: the agent's calls, upkeep and pre-claims share it. */
export interface NodeCore extends AsyncDisposable {
  ipam: AgentIpam;
  journals: Journals;
  held: HeldPorts;
  /** One queue a sandbox: CNI calls, upkeep and confirmations of it never interleave. */
  queue: KeyedQueue;
  leases: Leases;
  probes: AddressProbes;
  rejected: RejectedPorts;
  confirmations: Confirmations;
  unreported: UnreportedLeases;
}

/** Disposing of it stops the background work, releases idle leases and closes the IPAM client, in this order. */
export async function createNodeCore(options: NodeCoreOptions): Promise<NodeCore> {
  const { nodeName, datapath, condition, metrics, log, canUseLease: canUse, now } = options;
  await using stack = new AsyncDisposableStack();

  const journals = new Journals(options.journalDir);
  const held = new HeldPorts();
  const queue = new KeyedQueue();
  const ipam = stack.use(createAgentIpam(options.ipam));
  const probes = new AddressProbes(datapath, options.bridges);
  const leases = stack.use(new Leases({ ipam, probes, canUse, metrics, log, now, wallClock: () => new Date() }));
  ipam.onReachable(() => leases.retry());

  const rejected = new RejectedPorts({ datapath, held, condition, metrics, log });
  const confirmations = new Confirmations({ ipam, held, queue, rejected });
  const unreported = new UnreportedLeases({ ipam, held, queue, rejected, metrics, log });

  if (options.delivers) {
    await unreported.restore(journals).catch(error => {
      metrics.failures.inc({ component: "journal" });
      log.warn({ component: "journal", reason: describeError(error) }, "cannot restore unreported leases");
    });
    const delivery = stack.use(new Delivery({ nodeName, ipam, journals, confirmations, unreported, metrics, log }));
    ipam.onReachable(() => delivery.wake());
    // An unreachable IPAM wakes the delivery itself when it is back.
    unreported.onRecorded(() => ipam.isReachable && delivery.wake());
  }
  if (options.loadsHeldPorts) {
    const loading = stack.use(loadHeld({ ipam, held, nodeName, log }));
    ipam.onReachable(() => loading.retry());
  } else held.isSynced = true;

  const owned = stack.move();
  return {
    ...{ ipam, journals, held, queue, leases, probes, rejected, confirmations, unreported },
    [Symbol.asyncDispose]: () => owned[Symbol.asyncDispose](),
  };
}
