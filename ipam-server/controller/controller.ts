import type { KubeConfig } from "@kubernetes/client-node";
import type { Logger } from "pino";
import { createIpamClient } from "../client/client.ts";
import { IpamError, type MooringEvent, type Port } from "../contract/index.ts";
import { readClusterUid } from "../kube/cluster-uid.ts";
import { KubeApi } from "../kube/kube-api.ts";
import { KubeEvents } from "../kube/kube-events.ts";
import { BackgroundLoop } from "../process/background-loop.ts";
import { HealthServer } from "../process/health-server.ts";
import type { ListenAddress } from "../process/option-parsers.ts";
import { buildHeldEvent, buildMoveEvent, buildReclaimEvent, buildRefusedEvent } from "./address-events.ts";
import { Brake } from "./brake.ts";
import { KubeWatch } from "./kube-watch.ts";
import { Leader } from "./leader.ts";
import { ControllerMetrics } from "./metrics.ts";
import { PortView } from "./port-view.ts";
import { Sweeper } from "./sweeper.ts";

interface ControllerOptions {
  kubeConfig: KubeConfig;
  server: string;
  caFile?: string;
  tokenFile?: string;
  cluster: string;
  identity: string;
  kubeLease: { namespace: string; name: string; durationSeconds?: number };
  graceMs: number;
  healthListen: ListenAddress;
  log: Logger;
}

/** Bounds a call with its retries. */
const IPAM_TIMEOUT_MS = 10_000;

/** All ports are reloaded this often, in case an event was missed. */
const FULL_RELOAD_EVERY_MS = 10 * 60_000;
/** A pass takes seconds; a loop without one for this long hangs. */
const HUNG_MS = 5 * 60_000;

/** Runs one replica until the signal aborts: takes part in the election, and sweeps while it is the leader. */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { cluster, identity, log, graceMs } = options;
  await using stack = new AsyncDisposableStack();

  const metrics = new ControllerMetrics();
  const failed = (component: string) => (error: unknown) => {
    metrics.failures.inc({ component });
    log.warn({ err: error, component }, "failed, retrying");
  };
  const api = new KubeApi(options.kubeConfig);
  const { server, caFile, tokenFile } = options;
  const ipam = stack.use(
    createIpamClient({
      url: server,
      timeoutMs: IPAM_TIMEOUT_MS,
      userAgent: "mooring-controller",
      ...(caFile !== undefined && { caFile }),
      ...(tokenFile !== undefined && { tokenFile }),
    }),
  );
  const watch = stack.use(new KubeWatch(api, error => failed("watch")(error)));
  const events = stack.use(
    new KubeEvents({
      api,
      component: "mooring-controller",
      host: identity,
      now: Date.now,
      onError: e => failed("event")(e),
    }),
  );
  const leader = stack.use(
    new Leader({
      api,
      identity,
      ...options.kubeLease,
      onError: error => failed("lease")(error),
    }),
  );
  const lastHosts = new Map<string, string>();
  const onEvent = (event: MooringEvent, before: Port | undefined) => {
    const name = event.port ?? "";
    const pod = event.ownerUid === undefined ? undefined : watch.pod(event.ownerUid);
    const kubeEvent = buildMoveEvent(event, lastHosts.get(name) ?? before?.binding?.host, pod);
    if (kubeEvent !== undefined && leader.isLeader()) events.write(kubeEvent);
    recordHost(lastHosts, event);
  };
  const ports = stack.use(
    new PortView({ client: ipam, cluster, onEvent, onError: error => failed("ipam-events")(error) }),
  );
  const brake = new Brake({
    register: async heldPass => ipam.registerCluster(cluster, { uid: await readClusterUid(api), heldPass }),
    onHeld(held) {
      log.error({ ...held }, "one pass would end too many ports, waiting for mooringctl confirm");
      events.write(buildHeldEvent(cluster, held, options.kubeLease));
    },
  });
  const sweeper = new Sweeper({
    cluster,
    brake,
    assertOwnCluster: async () => ipam.registerCluster(cluster, { uid: await readClusterUid(api) }),
    graceMs,
    ports,
    watch,
    api,
    ipam,
    mayAct: () => leader.isLeader(),
    now: () => performance.now(),
    onReclaimed(due, outcome) {
      const action = outcome.deleted && due.decision.action === "retire" ? "delete" : due.decision.action;
      metrics.reclaimed.inc({ action });
      log.info({ port: due.port.name, action, reason: due.decision.reason, expiresAt: outcome.expiresAt }, "reclaimed");
      const kubeEvent = buildReclaimEvent(due, outcome);
      if (kubeEvent !== undefined) events.write(kubeEvent);
    },
    onError: (error, what) => failed(what.split(" ")[0] ?? "sweep")(error),
  });

  leader.onChange(isLeader => {
    log.info({ identity }, isLeader ? "became leader" : "lost leadership");
    sweeper.reset();
    brake.reset();
  });
  metrics.registerGauges({
    isLeader: () => leader.isLeader(),
    suspectCount: () => sweeper.suspectCount,
    heldCount: () => brake.heldCount,
  });

  let passedAt = performance.now();
  // A standby replica is ready too: it can take over.
  const findFaults = () => {
    const silentMs = performance.now() - passedAt;
    return silentMs < HUNG_MS ? [] : [`no pass has ended for ${Math.round(silentMs / 1000)} s`];
  };
  let refusal: string | undefined;
  const findObstacles = () => [...findFaults(), ...(refusal === undefined ? [] : [refusal])];
  const checks = { findFaults, findObstacles };
  stack.use(await HealthServer.start(options.healthListen, checks, metrics.registry));

  const everyMs = Math.min(10_000, Math.max(250, graceMs / 4));
  let reloadedAt = performance.now();
  const pass = async () => {
    if (leader.isLeader()) {
      if (performance.now() - reloadedAt > FULL_RELOAD_EVERY_MS) {
        reloadedAt = performance.now();
        ports.markAllStale();
      }
      try {
        await sweeper.sweep(signal);
        refusal = undefined;
      } catch (error) {
        failed("sweep")(error);
        const isRefused = error instanceof IpamError && error.code === "conflict";
        if (isRefused && error.message !== refusal) events.write(buildRefusedEvent(error.message, options.kubeLease));
        refusal = isRefused ? error.message : undefined;
      }
    }
    passedAt = performance.now();
    return everyMs;
  };
  await new BackgroundLoop({ pass, signal }).ended;
}

/** Keeps the last host of each port until the port is deleted. */
function recordHost(hosts: Map<string, string>, event: MooringEvent): void {
  if (event.port === undefined) return;
  if (event.type === "port.deleted") hosts.delete(event.port);
  else if (event.host !== undefined && event.type !== "port.state") hosts.set(event.port, event.host);
}
