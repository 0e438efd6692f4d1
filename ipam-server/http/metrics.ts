import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { SERVER_CALLER } from "../domain/model/caller.ts";
import type { Store } from "../domain/store.ts";
import { STREAM_KINDS, type StreamKind } from "./v1/stream-places.ts";

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5];
const ITEMS = [1, 2, 5, 10, 20, 50, 100, 200, 400, 1000];

/** The server's Prometheus metrics. Subnet gauges are read at each scrape. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = this.#histogram("mooring_http_request_seconds", "Time to answer a request", SECONDS, [
    "route",
    "method",
    "status",
  ]);
  readonly #batches = this.#histogram("mooring_commit_items", "Claims, releases and reports in one commit", ITEMS);
  readonly #commits = this.#histogram("mooring_commit_seconds", "Time to decide and commit a batch", SECONDS);
  readonly #term = new Gauge({
    name: "mooring_leader_term",
    help: "Leadership term of this server; 0 while another server is the leader",
    registers: [this.#registry],
  });

  readonly #streams = new Gauge({
    name: "mooring_event_streams",
    help: "Open event streams by kind: agent, controller, other",
    labelNames: ["kind"],
    registers: [this.#registry],
  });
  readonly #refusedStreams = new Counter({
    name: "mooring_event_streams_refused_total",
    help: "Event streams refused because their kind or their caller had no place left",
    labelNames: ["kind"],
    registers: [this.#registry],
  });
  readonly #clockJumps = new Counter({
    name: "mooring_clock_jumps_total",
    help: "Times that the wall clock was set by two seconds or more, as seen by the leader",
    registers: [this.#registry],
  });

  readonly #held = this.#subnetGauge("held", "Addresses held by ports");
  readonly #freed = this.#subnetGauge("freed", "Released addresses that wait for reuse");
  readonly #size = this.#subnetGauge("size", "Addresses in the allocation pools");
  readonly #waitingHosts = new Gauge({
    name: "mooring_recovery_waiting_hosts",
    help: "Hosts that have not reported what they have plugged since the restore; 0 without a recovery",
    registers: [this.#registry],
  });
  readonly #conflicts = new Gauge({
    name: "mooring_address_conflicts",
    help: "Addresses that are not assigned because another machine answers for them",
    labelNames: ["network"],
    registers: [this.#registry],
  });
  readonly #deletedForSpace = new Counter({
    name: "mooring_events_deleted_for_space_total",
    help: "Events deleted before their time because the database's disk had little space",
    registers: [this.#registry],
  });
  readonly #usage = new Map<string, Gauge>();
  readonly #store: Pick<Store, "readNetworks" | "readConflicts" | "changeRecovery" | "readUsage">;

  constructor(
    store: Pick<Store, "readNetworks" | "readConflicts" | "changeRecovery" | "readUsage">,
    queueDepth: () => number,
  ) {
    this.#store = store;
    for (const kind of STREAM_KINDS) {
      this.#streams.set({ kind }, 0);
      this.#refusedStreams.inc({ kind }, 0);
    }
    collectDefaultMetrics({ register: this.#registry });
    new Gauge({
      name: "mooring_queue_items",
      help: "Claims, releases and reports waiting for a commit",
      registers: [this.#registry],
      collect() {
        this.set(queueDepth());
      },
    });
  }

  readonly onAnswer = (route: string, method: string, status: number, milliseconds: number): void => {
    this.#requests.observe({ route, method, status }, milliseconds / 1000);
  };

  readonly onCommit = (items: number, milliseconds: number): void => {
    this.#batches.observe(items);
    this.#commits.observe(milliseconds / 1000);
  };

  readonly onClockJump = (): void => this.#clockJumps.inc();

  readonly onTerm = (term: number | undefined): void => {
    this.#term.set(term ?? 0);
  };

  readonly onStreams = (kind: StreamKind, open: number): void => {
    this.#streams.set({ kind }, open);
  };

  readonly onRefusedStream = (kind: StreamKind): void => {
    this.#refusedStreams.inc({ kind });
  };

  async expose(): Promise<{ contentType: string; text: string }> {
    for (const gauge of [this.#held, this.#freed, this.#size, this.#waitingHosts, this.#conflicts]) gauge.reset();
    const recovery = await this.#store.changeRecovery({ kind: "check" }, SERVER_CALLER);
    if (recovery) this.#waitingHosts.set(recovery.waitingFor.length);
    for (const { network } of await this.#store.readConflicts()) this.#conflicts.inc({ network });
    for (const { name, subnets } of await this.#store.readNetworks()) {
      for (const { cidr, usage } of subnets) {
        const labels = { network: name, subnet: cidr };
        this.#held.set(labels, usage.held);
        this.#freed.set(labels, usage.freed);
        this.#conflicts.inc({ network: name }, 0);
        this.#size.set(labels, Number(usage.size));
      }
    }
    await this.#setUsage();
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  async #setUsage(): Promise<void> {
    const { database, log, free, reserve, events, oldestEventTime, eventsDeletedForSpace } =
      await this.#store.readUsage();
    const oldest = oldestEventTime === undefined ? undefined : oldestEventTime / 1000;
    this.#setGauge("mooring_database_bytes", "Size of the database", database);
    this.#setGauge("mooring_database_log_bytes", "Size of the database's log", log);
    this.#setGauge("mooring_database_free_bytes", "Free space of the database's volume", free);
    this.#setGauge("mooring_database_reserve_bytes", "Space set aside for when the volume is full", reserve);
    this.#setGauge("mooring_events_bytes", "Size of the history, estimated", events);
    this.#setGauge("mooring_oldest_event_timestamp_seconds", "Time of the oldest event that is kept", oldest);
    this.#deletedForSpace.reset();
    this.#deletedForSpace.inc(eventsDeletedForSpace ?? 0);
  }

  /** A gauge without a value is not exposed. */
  #setGauge(name: string, help: string, value: number | undefined): void {
    if (value === undefined) return;
    const gauge = this.#usage.get(name) ?? new Gauge({ name, help, registers: [this.#registry] });
    this.#usage.set(name, gauge);
    gauge.set(value);
  }

  #subnetGauge(what: string, help: string): Gauge<"network" | "subnet"> {
    return new Gauge({
      name: `mooring_subnet_${what}`,
      help,
      labelNames: ["network", "subnet"],
      registers: [this.#registry],
    });
  }

  #histogram(name: string, help: string, buckets: number[], labelNames: string[] = []): Histogram {
    return new Histogram({ name, help, buckets, labelNames, registers: [this.#registry] });
  }
}
