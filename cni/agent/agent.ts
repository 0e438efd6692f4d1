import { uptime } from "node:os";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Logger } from "pino";
import { readClusterUid } from "../../ipam-server/kube/cluster-uid.ts";
import { KubeApi } from "../../ipam-server/kube/kube-api.ts";
import { KubeEvents } from "../../ipam-server/kube/kube-events.ts";
import { untilAborted } from "../../ipam-server/process/background-loop.ts";
import { HealthServer } from "../../ipam-server/process/health-server.ts";
import { openDatapath } from "../datapath/datapath.ts";
import { GroupRemoval } from "../datapath/kernel/group-removal.ts";
import { describeError } from "../spec/cni-error.ts";
import type { AgentBackendOptions } from "./calls/agent-backend.ts";
import { Calls } from "./calls/calls.ts";
import { SocketServer } from "./calls/socket-server.ts";
import { ClaimBuilder } from "./claims/claim-builder.ts";
import { DefaultNetwork } from "./claims/default-network.ts";
import { Preclaims } from "./claims/preclaims.ts";
import { type AgentConfig, deriveBridges } from "./config.ts";
import { AgentMetrics } from "./metrics.ts";
import { createNodeCore } from "./node-core.ts";
import { AddressCondition } from "./pod/address-condition.ts";
import { watchNode } from "./pod/node-watch.ts";
import { PodSource } from "./pod/pods.ts";
import type { StartUpkeep } from "./upkeep/upkeep-context.ts";

export interface AgentOptions {
  config: AgentConfig;
  kubeConfig: KubeConfig;
  log: Logger;
  startUpkeep?: StartUpkeep;
}

/** Bounds a claim with its retries, and one datapath operation. */
const IPAM_TIMEOUT_MS = 8_000;
const DATAPATH_TIMEOUT_MS = 10_000;
/** Bounds the calls in flight at shutdown; below the 30 s that the DaemonSet allows. */
const DRAIN_MS = 10_000;

/** Runs the node's agent until the signal aborts. Rejects if the socket or the health endpoint cannot be bound. */
export async function runAgent(options: AgentOptions, signal: AbortSignal): Promise<void> {
  const { config, log, startUpkeep } = options;
  const { nodeName, server, tokenFile, caFile } = config;
  const bridges = deriveBridges(config);
  await using stack = new AsyncDisposableStack();
  const closing = new AbortController();

  const metrics = new AgentMetrics();
  const onError = (component: string) => (error: unknown) => {
    metrics.failures.inc({ component });
    log.warn({ component, reason: describeError(error) }, "failed, retrying");
  };

  // The node: OVS and the kernel.
  const datapath = stack.use(
    openDatapath({
      ovsdb: config.ovsdb,
      timeoutMs: DATAPATH_TIMEOUT_MS,
      removal: openHost => new GroupRemoval(openHost),
    }),
  );

  // Kubernetes: events, pods and the claims they make.
  const api = new KubeApi(options.kubeConfig);
  const events = stack.use(
    new KubeEvents({ api, component: "mooring-agent", host: nodeName, now: Date.now, onError: onError("event") }),
  );
  const pods = stack.use(new PodSource({ api, nodeName, onError: onError("watch") }));
  const now = () => new Date();
  const condition = stack.use(new AddressCondition({ api, events, pods, now, onError: onError("condition") }));
  const claims = new ClaimBuilder({ config, pods, now });

  // The IPAM, and what this node holds of it.
  const core = stack.use(
    await createNodeCore({
      nodeName,
      ipam: {
        url: server,
        timeoutMs: IPAM_TIMEOUT_MS,
        signal: closing.signal,
        cluster: { name: config.cluster, readUid: () => readClusterUid(api) },
        ...(tokenFile !== undefined && { tokenFile }),
        ...(caFile !== undefined && { caFile }),
      },
      journalDir: config.journalDir,
      datapath,
      bridges,
      condition,
      metrics,
      log,
      canUseLease: claim => claims.canUseLease(claim),
      // Counts while a virtual machine is suspended, as the IPAM's clock does.
      now: () => uptime() * 1000,
      loadsHeldPorts: true,
      delivers: true,
    }),
  );
  const { ipam, journals, held, queue, leases, probes, confirmations, unreported } = core;
  const journal = journals.of("agent");
  metrics.registerGauges({
    journalDepth: () => journals.depth(),
    heldPorts: () => held.size,
    watchLastEventAgeSeconds: () => pods.lastEventAgeSeconds,
    isIpamReachable: () => ipam.isReachable,
    leasedFrom: () => Array.from(leases.ports(), ({ network }) => network),
  });

  // Background work of the node.
  stack.use(
    watchNode({ api, nodeName, onCordon: isCordoned => leases.setCordoned(isCordoned), onError: onError("watch") }),
  );
  const shared = { config, bridges, ipam, datapath, held, leases, unreported, metrics };
  const upkeep = await startUpkeep?.({ ...shared, pods, api, journal, queue, condition, log });
  if (upkeep !== undefined) stack.use(upkeep);
  const defaultNetwork = new DefaultNetwork(config.preclaim);
  stack.use(
    new Preclaims({ nodeName, pods, claims, defaultNetwork, ipam, held, leases, probes, journal, metrics, log }),
  );

  // CNI calls.
  const backend: AgentBackendOptions = {
    ...shared,
    claims,
    probes,
    journalOf: name => journals.of(name),
    confirmLater(claim, expected) {
      confirmations.add(claim, expected);
      log.warn({ port: expected.port.name }, "IPAM unreachable, plugged a held port");
    },
  };
  const calls = new Calls({ backend, defaultNetwork, queue, events, log });
  const socket = stack.use(
    await SocketServer.start({ path: config.socket, answer: (call, gone) => calls.answer(call, gone) }),
  );

  const findObstacles = async () => [
    ...(socket.isServing ? [] : ["the socket is not served"]),
    ...(ipam.clusterRefusal === undefined ? [] : [ipam.clusterRefusal]),
    ...(pods.items === undefined ? ["the pods of this node are not yet listed from Kubernetes"] : []),
    ...(await datapath.ready(bridges.map(({ name }) => name)).then(
      () => [],
      error => [describeError(error)],
    )),
  ];
  stack.use(await HealthServer.start(config.healthListen, { findObstacles }, metrics.registry));
  log.info({ node: nodeName, cluster: config.cluster, socket: config.socket }, "agent ready");

  await untilAborted(signal);
  socket.stopAccepting();
  await calls.drain(DRAIN_MS);
  // Ends requests in the background. What they could not send is in the journals.
  closing.abort(new Error("the agent shuts down"));
}
