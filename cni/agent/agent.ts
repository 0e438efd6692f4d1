import { uptime } from "node:os";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Logger } from "pino";
import { KubeApi } from "../../ipam-server/kube/kube-api.ts";
import { KubeEvents } from "../../ipam-server/kube/kube-events.ts";
import { openDatapath } from "../datapath/datapath.ts";
import { GroupRemoval } from "../datapath/kernel/group-removal.ts";
import { describeError } from "../spec/cni-error.ts";
import type { AgentBackendOptions } from "./calls/agent-backend.ts";
import { Calls } from "./calls/calls.ts";
import { KeyedQueue } from "./calls/keyed-queue.ts";
import { SocketServer } from "./calls/socket-server.ts";
import { ClaimBuilder } from "./claims/claim-builder.ts";
import { Confirmations } from "./claims/confirmations.ts";
import { Preclaims } from "./claims/preclaims.ts";
import type { AgentConfig } from "./config.ts";
import { HealthServer } from "./health-server.ts";
import { createAgentIpam } from "./ipam/agent-ipam.ts";
import { Delivery } from "./ipam/delivery.ts";
import { Journals } from "./ipam/journals.ts";
import { Leases } from "./leases/leases.ts";
import { UnreportedLeases } from "./leases/unreported-leases.ts";
import { AgentMetrics } from "./metrics.ts";
import { watchNode } from "./pod/node-watch.ts";
import { PodSource } from "./pod/pods.ts";
import { HeldPorts } from "./ports/held-ports.ts";
import { loadHeld } from "./ports/load-held.ts";
import { RejectedPorts } from "./ports/rejected-ports.ts";
import type { StartUpkeep } from "./upkeep/upkeep-context.ts";

export interface AgentOptions {
  config: AgentConfig;
  kubeConfig: KubeConfig;
  /** PEM. */
  ca?: string;
  log: Logger;
  startUpkeep?: StartUpkeep;
}

/** Of a claim with its repetitions, and of one call of the datapath. */
const IPAM_TIMEOUT_MS = 8_000;
const DATAPATH_TIMEOUT_MS = 10_000;
/** A runtime's call in flight when the agent is told to stop; the DaemonSet allows 30 s. */
const DRAIN_MS = 10_000;

/** Runs the node's agent until the signal aborts. */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const { config, log, ca, startUpkeep } = options;
  const { nodeName, server, tokenFile, caFile } = config;
  await using stack = new AsyncDisposableStack();

  const failed = (component: string) => (error: unknown) => {
    metrics.failures.inc({ component });
    log.warn({ component, reason: describeError(error) }, "failed; will be tried again");
  };
  const ending = new AbortController();
  const journals = new Journals(config.journalDir);
  const held = new HeldPorts();
  const turns = new KeyedQueue();
  const ipam = stack.use(
    createAgentIpam({
      url: server,
      timeoutMs: IPAM_TIMEOUT_MS,
      signal: ending.signal,
      ...(tokenFile !== undefined && { tokenFile }),
      ...(caFile !== undefined && { caFile }),
      ...(ca !== undefined && { ca }),
      onBack: () => {
        delivery.kick();
        leases.retry();
        loading.retry();
      },
    }),
  );
  const metrics: AgentMetrics = new AgentMetrics({
    journalDepth: () => journals.depth(),
    heldPorts: () => held.size,
    watchSilenceSeconds: () => pods.silenceSeconds,
    isIpamReachable: () => ipam.isReachable,
    leasedFrom: () => Array.from(leases.ports(), ({ network }) => network),
  });
  const datapath = stack.use(
    openDatapath({
      ovsdb: config.ovsdb,
      timeoutMs: DATAPATH_TIMEOUT_MS,
      removal: openHost => new GroupRemoval(openHost),
    }),
  );
  const api = new KubeApi(options.kubeConfig);
  const events = stack.use(
    new KubeEvents({ api, component: "mooring-agent", host: nodeName, now: Date.now, onError: failed("event") }),
  );
  const pods: PodSource = stack.use(new PodSource({ api, nodeName, onError: failed("watch") }));
  const claims = new ClaimBuilder({ config, pods, now: () => new Date() });
  const leases: Leases = stack.use(
    new Leases({
      ipam,
      mayUse: claim => claims.mayUseLease(claim),
      metrics,
      log,
      // Goes on while a virtual machine is suspended, as the IPAM's own time does.
      now: () => uptime() * 1000,
      wallClock: () => new Date(),
    }),
  );
  stack.use(
    watchNode({ api, nodeName, onCordon: isCordoned => leases.setCordoned(isCordoned), onError: failed("watch") }),
  );

  const refused = new RejectedPorts({ datapath, held, pods, events, metrics, log });
  const confirmations = new Confirmations({ ipam, held, turns, refused });
  const takings = new UnreportedLeases({
    ipam,
    held,
    turns,
    refused,
    metrics,
    log,
    // While it is away, who finds it back says so.
    onRecorded: () => void (ipam.isReachable && delivery.kick()),
  });
  await takings.restore(journals).catch(failed("journal"));
  const delivery: Delivery = stack.use(
    new Delivery({ nodeName, ipam, journals, confirmations, takings, metrics, log }),
  );
  const loading = stack.use(loadHeld({ ipam, held, nodeName, log }));

  const home: AgentBackendOptions = {
    config,
    ipam,
    datapath,
    claims,
    held,
    leases,
    takings,
    metrics,
    journalOf: name => journals.of(name),
    confirmLater(claim, expected) {
      confirmations.add(claim, expected);
      log.warn({ port: expected.port.name }, "plugged from what this node holds, the IPAM being away");
    },
  };
  const journal = journals.of("agent");
  const upkeep = await startUpkeep?.({
    config,
    ipam,
    datapath,
    pods,
    api,
    journal,
    held,
    leases,
    takings,
    turns,
    events,
    metrics,
    log,
  });
  if (upkeep !== undefined) stack.use(upkeep);
  stack.use(new Preclaims({ nodeName, pods, claims, ipam, held, leases, journal, metrics, log }));

  const calls = new Calls({ home, turns, events, log });
  const socket = stack.use(
    await SocketServer.start({ path: config.socket, answer: (call, gone) => calls.answer(call, gone) }),
  );
  const findObstacles = async () => [
    ...(socket.isServing ? [] : ["the socket is not served"]),
    ...(pods.items === undefined ? ["Kubernetes has not told this node's pods yet"] : []),
    ...(await datapath.ready(config.bridge).then(
      () => [],
      error => [describeError(error)],
    )),
  ];
  stack.use(await HealthServer.start(config.healthListen, { findObstacles }, metrics.registry));
  log.info({ node: nodeName, cluster: config.cluster, socket: config.socket }, "serves");

  if (!signal.aborted) await new Promise(resolve => signal.addEventListener("abort", resolve, { once: true }));
  log.info("stops");
  socket.stopAccepting();
  await calls.drain(DRAIN_MS);
  // What runs in the background waits for nobody any more.
  ending.abort(new Error("the agent stops"));
}
