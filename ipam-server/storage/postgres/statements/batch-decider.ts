import { decide } from "../../../domain/decide/decide.ts";
import type { DecisionContext } from "../../../domain/decide/decision-scope.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Item, Outcome } from "../../../domain/model/mutation.ts";
import { planAllocations, planNeeds } from "../../../domain/model/needs.ts";
import type { NewEvent } from "../../../domain/model/snapshot.ts";
import { hasChanges, updateCatalog } from "../../commit.ts";
import { type Bound, prepare, type Send } from "../database/statement.ts";
import { KeyBlocks } from "../replicas/key-blocks.ts";
import type { VersionedCatalog } from "../rows/catalog-rows.ts";
import { loadSnapshot } from "./snapshot-loader.ts";
import { deleteUnpooled, planWrites } from "./write-applier.ts";

export interface Decided {
  outcomes: Outcome[];
  statements: Bound[];
  events: NewEvent[];
  /** To be called after the commit. */
  updateCatalog(): void;
}

/** `stale`: the cached networks are outdated. `again`: the transaction needs more locks, which the decider has noted. */
export type Decision = Decided | "stale" | "again";
type DecideOn = (send: Send, cached: VersionedCatalog) => Promise<Decision>;

/** How old the counters of networks may be that a batch compares but does not allocate from. */
const COUNTERS_FRESH_MS = 500;
const COUNTERS = prepare("SELECT id, held, outside, freed FROM subnets");

/** Loads what a batch needs, decides it, and plans what to write. */
export class BatchDecider {
  readonly #keys = new KeyBlocks();
  readonly #runAlone: <T>(work: (send: Send) => Promise<T>) => Promise<T>;
  #areCountersStale = false;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  /** @param runAlone runs a statement outside the batch's transaction, to reserve port keys */
  constructor(runAlone: <T>(work: (send: Send) => Promise<T>) => Promise<T>) {
    this.#runAlone = runAlone;
  }

  /** To be called when another replica has allocated or released addresses. */
  invalidateCounters(): void {
    this.#areCountersStale = true;
  }

  /** Returns the attempt to run in a transaction; each attempt locks what the ones before turned out to need. */
  begin(batch: readonly Item[], context: DecisionContext): DecideOn {
    const alsoLock = new Set<number>();
    const alsoAllocate = new Set<number>();
    return async (send, { catalog, revision }) => {
      const allocations = planAllocations(batch, catalog, () => false);
      const known = new Set(catalog.networks.map(({ id }) => id));
      for (const id of alsoAllocate) if (known.has(id)) allocations.set(id, batch.length);
      const surelyAllocates =
        alsoAllocate.size > 0 || batch.some(item => item.kind === "claim" && item.claim.onMismatch === "reallocate");
      const plan = { batch, needs: planNeeds(batch, catalog), allocations, alsoLock, surelyAllocates };
      // Send everything before awaiting anything, so that it takes one round trip.
      const loading = loadSnapshot(send, plan, catalog);
      const refreshing = allocations.size > 0 ? this.#refreshCounters(send, catalog) : undefined;
      const [loaded] = await Promise.all([loading, refreshing]);
      const { epochFloor, generation, recovery } = loaded.state;
      if (loaded.state.revision !== revision) return "stale";
      if (!this.#keys.has(batch.length, generation)) await this.#keys.reserve(batch.length, generation, this.#runAlone);

      const snapshot = { ...loaded.snapshot, nextPortKey: this.#keys.next };
      const decision = decide(batch, snapshot, { ...context, minimumEpoch: epochFloor, recovery });
      if ("missingNetworkId" in decision) {
        alsoAllocate.add(decision.missingNetworkId);
        return "again";
      }
      const { outcomes, writes } = decision;
      const unlocked = [...writes.counters.keys()].filter(id => !loaded.locked.has(id));
      if (unlocked.length > 0) {
        for (const id of unlocked) alsoLock.add(id);
        return "again";
      }
      this.#keys.use(writes.nextPortKey);
      const statements = hasChanges(writes) ? planWrites(writes, catalog) : [];
      if (statements.length > 0 && writes.counters.size > 0) {
        statements.push(deleteUnpooled(loaded.locked, context.now - context.reuseDelayMs));
      }
      return { outcomes, statements, events: writes.events, updateCatalog: () => updateCatalog(writes, catalog) };
    };
  }

  async #refreshCounters(send: Send, catalog: Catalog): Promise<void> {
    const now = performance.now();
    if (!this.#areCountersStale || now - this.#refreshedAt < COUNTERS_FRESH_MS) return;
    this.#areCountersStale = false;
    this.#refreshedAt = now;
    for (const [id, held, outside, freed] of await send<[number, number, number, number]>(COUNTERS)) {
      if (catalog.hasSubnet(id)) Object.assign(catalog.subnet(id), { held, outside, freed });
    }
  }
}
