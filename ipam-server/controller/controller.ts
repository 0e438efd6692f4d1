import { setTimeout as sleep } from "node:timers/promises";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Logger } from "pino";
import type { MooringEvent, Port } from "../contract/index.ts";
import { KubeApi } from "../kube/kube-api.ts";
import { KubeEvents } from "../kube/kube-events.ts";
import type { ListenAddress } from "../process/option-parsers.ts";
import { ControllerMetrics, HealthServer, type HealthState } from "./health.ts";
import { IpamClient } from "./ipam-client.ts";
import { IpamTransport } from "./ipam-transport.ts";
import { KubeWatch } from "./kube-watch.ts";
import { Leader } from "./leader.ts";
import { PortView } from "./port-view.ts";
import { describeGivenBack, describeMove } from "./report-kept-ports.ts";
import { Sweeper } from "./sweeper.ts";

export interface ControllerOptions {
  kubeConfig: KubeConfig;
  server: string;
  ca?: string;
  readToken?(): Promise<string | undefined>;
  cluster: string;
  identity: string;
  lease: { namespace: string; name: string; durationSeconds?: number };
  graceMs: number;
  healthListen: ListenAddress;
  log: Logger;
}

/** Everything is read again from time to time, should an event ever have been missed. */
const WHOLE_EVERY_MS = 10 * 60_000;

/** Runs one replica until the signal aborts: stands for election, and decides while it leads. */
export async function runController(options: ControllerOptions, signal: AbortSignal): Promise<void> {
  const { cluster, identity, log, graceMs } = options;
  await using stack = new AsyncDisposableStack();

  const failed = (component: string) => (error: unknown) => {
    metrics.failures.inc({ component });
    log.warn({ err: error, component }, "failed; will be tried again");
  };
  const api = new KubeApi(options.kubeConfig);
  const { server, ca, readToken } = options;
  const transport = stack.use(new IpamTransport({ server, ...(ca && { ca }), ...(readToken && { readToken }) }));
  const ipam = new IpamClient(transport);
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
      ...options.lease,
      onError: error => failed("lease")(error),
      onChange(isLeader) {
        log.info({ identity }, isLeader ? "leads" : "follows");
        sweeper.forget();
      },
    }),
  );
  const lastHosts = new Map<string, string>();
  const onEvent = (event: MooringEvent, before: Port | undefined) => {
    const name = event.port ?? "";
    const pod = event.ownerUid === undefined ? undefined : watch.pod(event.ownerUid);
    const told = describeMove(event, lastHosts.get(name) ?? before?.binding?.host, pod);
    if (told !== undefined && leader.isLeader()) events.write(told);
    rememberHost(lastHosts, event);
  };
  const ports = stack.use(
    new PortView({ client: ipam, cluster, onEvent, onError: error => failed("ipam-events")(error) }),
  );
  const sweeper: Sweeper = new Sweeper({
    cluster,
    graceMs,
    ports,
    watch,
    api,
    ipam,
    mayAct: () => leader.isLeader(),
    now: () => performance.now(),
    onGivenBack(due) {
      metrics.givenBack.inc({ action: due.verdict.action });
      log.info({ port: due.port.name, action: due.verdict.action, reason: due.verdict.reason }, "given back");
      const told = describeGivenBack(due, undefined);
      if (told !== undefined) events.write(told);
    },
    onError: (error, what) => failed(what.split(" ")[0] ?? "sweep")(error),
  });

  let passedAt = performance.now();
  const state: HealthState = {
    silentMs: () => performance.now() - passedAt,
    isLeader: () => leader.isLeader(),
    suspectCount: () => sweeper.suspectCount,
  };
  const metrics = new ControllerMetrics(state);
  stack.use(await HealthServer.start(options.healthListen, state, metrics.registry));

  const everyMs = Math.min(10_000, Math.max(250, graceMs / 4));
  let wholeAt = performance.now();
  while (!signal.aborted) {
    if (leader.isLeader()) {
      if (performance.now() - wholeAt > WHOLE_EVERY_MS) {
        wholeAt = performance.now();
        ports.markAllStale();
      }
      await sweeper.sweep(signal).catch(failed("sweep"));
    }
    passedAt = performance.now();
    await sleep(everyMs, undefined, { signal }).catch(() => undefined);
  }
}

/** Where each port was unplugged last; forgotten once it is gone. */
function rememberHost(hosts: Map<string, string>, event: MooringEvent): void {
  if (event.port === undefined) return;
  if (event.type === "port.deleted") hosts.delete(event.port);
  else if (event.host !== undefined && event.type !== "port.state") hosts.set(event.port, event.host);
}
