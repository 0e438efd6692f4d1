import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** The state that gauges read at each scrape. */
export interface AgentState {
  journalDepth(): number;
  heldPorts(): number;
  /** Seconds since the last event of the pod watch; Infinity before its first list. */
  watchLastEventAgeSeconds(): number;
  isIpamReachable(): boolean;
  /** The network of each idle lease. */
  leasedFrom(): Iterable<string>;
}

type CallStep = "claim" | "plug" | "unplug" | "release" | "report" | "total";

const BUCKETS = [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8, 16, 32, 64];

export class AgentMetrics {
  readonly registry = new Registry();
  readonly steps = new Histogram({
    name: "mooring_agent_call_seconds",
    help: "Duration of the steps of CNI calls; total is from the received call to its answer",
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
    help: "Pre-claims: claimed, failed or released unused; hit or miss at ADD",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly leases = new Counter({
    name: "mooring_agent_leases_total",
    help: "Address leases: leased and renewed, assigned to pods, confirmed or refused by the IPAM, returned unused",
    labelNames: ["outcome"],
    registers: [this.registry],
  });
  readonly fencedPorts = new Counter({
    name: "mooring_agent_fenced_ports_total",
    help: "Local ports disconnected because their binding moved, ended or was refused, by reason",
    labelNames: ["reason"],
    registers: [this.registry],
  });
  readonly wrongVlans = new Counter({
    name: "mooring_agent_wrong_vlan_total",
    help: "Ports whose tag, vlan_mode or trunks were changed in OVS, and restored: a fault of isolation",
    registers: [this.registry],
  });
  readonly addressConflicts = new Counter({
    name: "mooring_agent_address_conflicts_total",
    help: "Addresses of new pods that another machine on the network used already",
    registers: [this.registry],
  });
  readonly failures = new Counter({
    name: "mooring_agent_failures_total",
    help: "Failures of background work, which is retried, by component",
    labelNames: ["component"],
    registers: [this.registry],
  });

  /** Registers the gauges of a running agent. Call it once. */
  registerGauges(state: AgentState): void {
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers: [this.registry],
        collect() {
          this.set(read());
        },
      });
    gauge("mooring_agent_journal_entries", "Journaled claims, releases and reports not yet delivered to the IPAM", () =>
      state.journalDepth(),
    );
    gauge("mooring_agent_held_ports", "Bindings of this node in the agent's cache", () => state.heldPorts());
    gauge("mooring_agent_pod_watch_last_event_age_seconds", "Seconds since the last event of the pod watch", () =>
      state.watchLastEventAgeSeconds(),
    );
    gauge("mooring_agent_ipam_reachable", "1 if the IPAM answered the last request", () =>
      state.isIpamReachable() ? 1 : 0,
    );
    new Gauge({
      name: "mooring_agent_lease_addresses",
      help: "Idle leased addresses, by network",
      labelNames: ["network"],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const network of state.leasedFrom()) this.inc({ network });
      },
    });
  }

  /** Settles as the work does, and observes its duration either way. */
  async time<T>(command: string, step: CallStep, work: Promise<T>): Promise<T> {
    const end = this.steps.startTimer({ command, step });
    try {
      return await work;
    } finally {
      end();
    }
  }
}
