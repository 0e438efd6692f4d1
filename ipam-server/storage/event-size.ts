/** What an engine stores besides the texts of an event, with its share of indexes and free space. */
export interface EventOverhead {
  event: number;
  identity: number;
}

/** Bytes that an event takes in the database, as `event-rows.ts` encodes it. Estimated, within a few percent. */
export function sizeOfEvent(
  row: readonly unknown[],
  identities: readonly string[],
  { event, identity }: EventOverhead,
): number {
  let size = event;
  for (const value of row) if (typeof value === "string") size += value.length;
  // Once in the event's own row and once in its table.
  for (const value of identities) size += 2 * value.length + identity;
  return size;
}

/** The oldest events are deleted at the first limit that they reach. */
export interface HistoryLimits {
  retentionMs: number;
  maxBytes: number;
}
