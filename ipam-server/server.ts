import type { Logger } from "pino";
import { createAnonymousAuthenticator } from "./auth/anonymous.ts";
import { authorize } from "./auth/authorize.ts";
import { findConfigFault, type ServerConfig } from "./config.ts";
import { SERVER_CALLER } from "./domain/model/caller.ts";
import type { Store } from "./domain/store.ts";
import { leaderDuty } from "./duties/leader-duty.ts";
import { CommitQueue } from "./engine/commit-queue.ts";
import { EventTail } from "./engine/event-tail.ts";
import { ReadQueue } from "./engine/read-queue.ts";
import { AcceptPump } from "./http/accept-pump.ts";
import { createApp } from "./http/app.ts";
import { HttpServer } from "./http/http-server.ts";
import { Metrics } from "./http/metrics.ts";
import { buildOpenApi } from "./http/openapi.ts";
import type { Operation } from "./http/operation.ts";
import type { RequestPipeline } from "./http/request-pipeline.ts";
import { serviceOperations } from "./http/service-operations.ts";
import { batchOperations } from "./http/v1/batch-operations.ts";
import { clusterOperations } from "./http/v1/cluster-operations.ts";
import { eventOperations } from "./http/v1/event-operations.ts";
import { networkOperations } from "./http/v1/network-operations.ts";
import { portOperations } from "./http/v1/port-operations.ts";
import { recoveryOperations } from "./http/v1/recovery-operations.ts";
import { StreamPlaces } from "./http/v1/stream-places.ts";
import { transferOperations } from "./http/v1/transfer-operations.ts";
import { OptionError } from "./process/options.ts";
import { openPostgresStore } from "./storage/postgres/postgres-store.ts";
import { openSqliteStore } from "./storage/sqlite/sqlite-store.ts";

const KEEP_ALIVE_MS = 15_000;
const SLOW_READER_MS = 30_000;
const DRAIN_MS = 10_000;
const MAX_LONG_READS = 10;
/** SQLite answers on the server's own thread, PostgreSQL over as many connections. */
const READ_CONCURRENCY = { sqlite: 1, postgres: 4 };

interface RunningServer extends AsyncDisposable {
  /** `http://127.0.0.1:7070` or `unix:PATH`. */
  url: string;
  port: number | undefined;
}

/** Composes the server. Disposing stops in reverse: streams end, requests finish, the last batch commits, the store closes. */
export async function startServer(config: ServerConfig, log: Logger): Promise<RunningServer> {
  const refusal = findConfigFault(config);
  if (refusal !== undefined) throw new OptionError(refusal);
  await using stack = new AsyncDisposableStack();

  const store = stack.use(await openStore(config, log));
  await store.changeRecovery({ kind: "check" }, SERVER_CALLER);

  const metrics = new Metrics(store, () => batcher.depth);
  const acceptPump = new AcceptPump();
  const batcher = stack.use(
    new CommitQueue(store, {
      maxQueue: config.maxQueue,
      onCommit: metrics.onCommit,
      drainPendingConnections: acceptPump.drainPendingConnections,
    }),
  );
  const tail = stack.use(new EventTail(store));

  const authenticator = createAnonymousAuthenticator();
  const stopping = new AbortController();
  const edge: RequestPipeline = {
    stopping: stopping.signal,
    reads: {
      short: new ReadQueue({ concurrency: READ_CONCURRENCY[config.database.engine] }),
      long: new ReadQueue({ concurrency: 1, maxWaiting: MAX_LONG_READS }),
    },
    log,
    onAnswer: metrics.onAnswer,
    admit(request, action) {
      const caller = authenticator.authenticate(request);
      authorize(caller, action);
      return caller;
    },
  };

  const places = new StreamPlaces({ onChange: metrics.onStreams, onRefused: metrics.onRefusedStream });
  const streams = { places, keepAliveMs: KEEP_ALIVE_MS, slowReaderMs: SLOW_READER_MS, signal: stopping.signal };
  const operations: Operation[] = [
    ...batchOperations(batcher),
    ...networkOperations(store),
    ...portOperations(store, batcher),
    ...clusterOperations(store, batcher),
    ...recoveryOperations(store),
    ...eventOperations(store, tail, streams),
    ...transferOperations(store),
    ...serviceOperations(store, metrics, () => buildOpenApi(operations)),
  ];

  const { listen, requestTimeout: requestTimeoutMs } = config;
  const options = { listen, requestTimeoutMs, drainMs: DRAIN_MS, onConnection: acceptPump.onConnection };
  const server = stack.use(await HttpServer.listen(createApp(edge, operations), options));
  stack.defer(() => stopping.abort());
  stack.use(store.lead(leaderDuty(store, log, metrics)));

  const { url, port } = server;
  const running = stack.move();
  return { url, port, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function openStore(config: ServerConfig, log: Logger): Promise<Store> {
  const { database, reuseDelay, leaseTime, eventRetention, eventSize, retainWhenDeleted, retainWhenScaled } = config;
  const options = {
    reuseDelayMs: reuseDelay,
    leaseMs: leaseTime,
    eventRetentionMs: eventRetention,
    retention: { whenDeleted: retainWhenDeleted, whenScaled: retainWhenScaled },
    ...(eventSize !== undefined && { eventBytes: eventSize }),
  };
  return database.engine === "sqlite"
    ? openSqliteStore({ path: database.path, ...options, onLowSpace: message => log.warn(message) })
    : openPostgresStore({ url: database.url, ...options, onPromotion: message => log.warn(message) });
}
