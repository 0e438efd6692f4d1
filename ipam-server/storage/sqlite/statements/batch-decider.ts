import { decide } from "../../../domain/decide/decide.ts";
import type { DecisionContext } from "../../../domain/decide/decision-scope.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Item, Outcome } from "../../../domain/model/mutation.ts";
import { planAllocations, planNeeds } from "../../../domain/model/needs.ts";
import type { Writes } from "../../../domain/model/snapshot.ts";
import type { SnapshotLoader } from "./snapshot-loader.ts";

/** Loads what a batch needs and decides it. */
export function decideBatch(
  batch: readonly Item[],
  context: DecisionContext,
  loader: SnapshotLoader,
  catalog: Catalog,
  nextPortKey: number,
): { outcomes: Outcome[]; writes: Writes } {
  const needs = planNeeds(batch, catalog);
  const ports = loader.loadPorts(needs, catalog);
  const names = new Set(ports.map(({ name }) => name));
  const allocations = planAllocations(batch, catalog, name => names.has(name));
  for (;;) {
    const snapshot = loader.load(needs, allocations, ports, catalog, nextPortKey);
    const decision = decide(batch, snapshot, context);
    if ("outcomes" in decision) return decision;
    allocations.set(decision.missingNetworkId, batch.length);
  }
}
