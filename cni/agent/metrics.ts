import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** What gauges read at each scrape. */
export interface AgentState {
  journalDepth(): number;
  heldPorts(): number;
  /** Seconds since the watch of pods was heard last; Infinity before its first list. */
  watchSilenceSeconds(): number;
  isIpamReachable(): boolean;
  /** The networks of the leases that wait for a pod, one for each. */
  leasedFrom(): Iterable<string>;
}

export type CallStep = "claim" | "plug" | "unplug" | "release" | "report" | "total";

const BUCKETS = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8, 16, 32, 64];

export class AgentMetrics {
  readonly registry = new Registry();
  readonly steps = new Histogram({
    name: "mooring_agent_call_seconds",
    help: "Time of the steps of CNI calls; total is from the call received to its answer",
    labelNames: ["command", "step"],
    buckets: BUCKETS,
    registers: [this.registry],
  });
  readonly errors = new Counter({
    name: "mooring_agent_call_errors_total",
    help: "CNI calls answered with an error, by CNI code",
    labelNames: ["command", "code"],
    registers: [this.registry],
  });
  readonly preclaims = new Counter({
    name: "mooring_agent_preclaims_total",
    help: "Ports claimed before their sandbox (claimed, failed), released unused, and found waiting by ADD (hit) or not (miss)",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly leases = new Counter({
    name: "mooring_agent_leases_total",
    help: "Leased addresses: leased and renewed by the IPAM, assigned to pods, confirmed or refused by the IPAM, returned unused",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly fencedPorts = new Counter({
    name: "mooring_agent_fenced_ports_total",
    help: "Local ports unplugged because their binding is elsewhere or gone",
    labelNames: ["reason"],
    registers: [this.registry],
  });
  readonly failures = new Counter({
    name: "mooring_agent_failures_total",
    help: "Background steps that failed and will be tried again, by where",
    labelNames: ["component"],
    registers: [this.registry],
  });

  constructor(state: AgentState) {
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(read());
        },
      });
    gauge("mooring_agent_journal_entries", "Claims, releases and reports that wait for the IPAM", () =>
      state.journalDepth(),
    );
    gauge("mooring_agent_held_ports", "Bindings of this node that the agent knows", () => state.heldPorts());
    gauge("mooring_agent_pod_watch_last_event_age_seconds", "Since Kubernetes was heard of pods last", () =>
      state.watchSilenceSeconds(),
    );
    gauge("mooring_agent_ipam_reachable", "1 while the last exchange with the IPAM ended with an answer", () =>
      state.isIpamReachable() ? 1 : 0,
    );
    new Gauge({
      name: "mooring_agent_lease_addresses",
      help: "Leased addresses that wait for a pod, by network",
      labelNames: ["network"],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const network of state.leasedFrom()) this.inc({ network });
      },
    });
  }

  /** The work's outcome, its time observed either way. */
  async time<T>(command: string, step: CallStep, work: Promise<T>): Promise<T> {
    const end = this.steps.startTimer({ command, step });
    try {
      return await work;
    } finally {
      end();
    }
  }
}
