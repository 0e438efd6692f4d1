import { Counter, Gauge, Registry } from "prom-client";

interface ControllerState {
  isLeader(): boolean;
  suspectCount(): number;
  heldCount(): number;
}

export class ControllerMetrics {
  readonly registry = new Registry();
  readonly reclaimed = new Counter({
    name: "mooring_controller_reclaimed_total",
    help: "Bindings released, and ports deleted, retired (kept for a time) or restored because of their workload",
    labelNames: ["action"],
    registers: [this.registry],
  });
  readonly failures = new Counter({
    name: "mooring_controller_failures_total",
    help: "Failed steps that are retried, by component",
    labelNames: ["component"],
    registers: [this.registry],
  });

  /** Registers the gauges of a running controller. Call it once. */
  registerGauges(state: ControllerState): void {
    new Gauge({
      name: "mooring_controller_leader",
      help: "1 while this replica is the leader",
      registers: [this.registry],
      collect() {
        this.set(state.isLeader() ? 1 : 0);
      },
    });
    new Gauge({
      name: "mooring_controller_suspects",
      help: "Ports and bindings that look unused and are in their grace period",
      registers: [this.registry],
      collect() {
        this.set(state.suspectCount());
      },
    });
    new Gauge({
      name: "mooring_controller_held_reclaims",
      help: "Ports and bindings of a pass that would end too many at once and waits for mooringctl confirm",
      registers: [this.registry],
      collect() {
        this.set(state.heldCount());
      },
    });
  }
}
