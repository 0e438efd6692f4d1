import { type EventColumn, EVENT_COLUMNS as NAMES } from "../../event-rows.ts";

/** Columns that are not text. */
const TYPES: Partial<Record<EventColumn, string>> = { seq: "bigint", time: "bigint", epoch: "bigint", mac: "bigint" };

/** Columns of `events` in the order of EventRow, with their types. */
export const EVENT_COLUMNS = NAMES.map(name => [name, TYPES[name] ?? "text"] as const);
