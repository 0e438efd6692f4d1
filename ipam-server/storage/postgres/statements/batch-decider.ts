import { decide } from "../../../domain/decide/decide.ts";
import type { DecisionContext } from "../../../domain/decide/decision-scope.ts";
import type { Catalog } from "../../../domain/model/catalog.ts";
import type { Item, Outcome } from "../../../domain/model/mutation.ts";
import { planAllocations, planNeeds } from "../../../domain/model/needs.ts";
import type { NewEvent, Writes } from "../../../domain/model/snapshot.ts";
import { type Bound, prepare, type Send } from "../database/statement.ts";
import { KeyBlocks } from "../replicas/key-source.ts";
import type { VersionedCatalog } from "../rows/catalog-rows.ts";
import { loadSnapshot } from "./snapshot-loader.ts";
import { deleteUnpooled, planWrites } from "./write-applier.ts";

export interface Decided {
  outcomes: Outcome[];
  statements: Bound[];
  events: NewEvent[];
  /** To be called when it is committed: the catalog follows. */
  updateCatalog(): void;
}

/** `stale`: the networks are not those known. `again`: more must be locked; what, is remembered. */
export type Decision = Decided | "stale" | "again";
export type DecideOn = (send: Send, known: VersionedCatalog) => Promise<Decision>;

/** Counters of networks that are only compared, not taken from, may be so old. */
const COUNTERS_FRESH_MS = 500;
const COUNTERS = prepare("SELECT id, held, outside, freed FROM subnets");

/** Loads what a batch needs, has it decided, and says what to write. */
export class BatchDecider {
  readonly #keys = new KeyBlocks();
  readonly #takeKeys: <T>(work: (send: Send) => Promise<T>) => Promise<T>;
  #distrusted = false;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  /** @param takeKeys runs a statement by itself, apart from the batch's transaction */
  constructor(takeKeys: <T>(work: (send: Send) => Promise<T>) => Promise<T>) {
    this.#takeKeys = takeKeys;
  }

  /** Another replica has given out or taken back addresses. */
  invalidateCounters(): void {
    this.#distrusted = true;
  }

  /** The batch's turns, each in a transaction of its own, learn from one another what to lock. */
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
      // Not awaited before all is sent: what is asked for at once makes one round trip.
      const loading = loadSnapshot(send, plan, catalog);
      const refreshing = allocations.size > 0 ? this.#refreshCounters(send, catalog) : undefined;
      const [loaded] = await Promise.all([loading, refreshing]);
      const { epochFloor, generation } = loaded.state;
      if (loaded.state.revision !== revision) return "stale";
      if (!this.#keys.has(batch.length, generation)) await this.#keys.take(batch.length, generation, this.#takeKeys);

      const snapshot = { ...loaded.snapshot, nextPortKey: this.#keys.next };
      const decision = decide(batch, snapshot, { ...context, minimumEpoch: epochFloor });
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
      const statements = changesAnything(writes) ? planWrites(writes, catalog) : [];
      if (statements.length > 0 && writes.counters.size > 0) {
        statements.push(deleteUnpooled(loaded.locked, context.now - context.reuseDelayMs));
      }
      return { outcomes, statements, events: writes.events, updateCatalog: () => remember(writes, catalog) };
    };
  }

  async #refreshCounters(send: Send, catalog: Catalog): Promise<void> {
    const now = performance.now();
    if (!this.#distrusted || now - this.#refreshedAt < COUNTERS_FRESH_MS) return;
    this.#distrusted = false;
    this.#refreshedAt = now;
    for (const [id, held, outside, freed] of await send<[number, number, number, number]>(COUNTERS)) {
      if (catalog.hasSubnet(id)) Object.assign(catalog.subnet(id), { held, outside, freed });
    }
  }
}

const changesAnything = ({ events, updatedPorts }: Writes): boolean => events.length > 0 || updatedPorts.length > 0;

function remember(writes: Writes, catalog: Catalog): void {
  for (const [pool, cursor] of writes.cursors) pool.cursor = cursor;
  for (const [id, counters] of writes.counters) Object.assign(catalog.subnet(id), counters);
}
