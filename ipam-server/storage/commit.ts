import { SERVER_CALLER } from "../domain/model/caller.ts";
import type { Catalog } from "../domain/model/catalog.ts";
import type { Item } from "../domain/model/mutation.ts";
import type { NewEvent, Writes } from "../domain/model/snapshot.ts";
import type { NetworkChange } from "../domain/networks/plan-network-change.ts";

export const hasChanges = ({ events, updatedPorts }: Writes): boolean => events.length > 0 || updatedPorts.length > 0;

/** Applies committed cursors and counters to the catalog in memory. */
export function updateCatalog({ cursors, counters }: Writes, catalog: Catalog): void {
  for (const [pool, cursor] of cursors) pool.cursor = cursor;
  for (const [id, counts] of counters) Object.assign(catalog.subnet(id), counts);
}

/** The items that delete ports whose TTL or lease has ended. */
export const expireItems = (names: readonly string[]): Item[] =>
  names.map(name => ({ kind: "expire", name, caller: SERVER_CALLER }));

export const countDeleted = (outcomes: readonly object[]): number =>
  outcomes.filter(outcome => "deleted" in outcome).length;

/** The event of a declared network; none when nothing changed. */
export function networkEvents({ outcome, changes }: NetworkChange, network: string, caller: string): NewEvent[] {
  if (outcome === "unchanged") return [];
  const type = outcome === "created" ? "network.created" : "network.changed";
  return [{ type, caller, network, message: changes.join("; ") }];
}
