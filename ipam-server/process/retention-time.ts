import { parseDuration } from "./duration.ts";

export const RETENTION_TIME_ACCEPTS =
  '"Retain", "Delete" or a duration such as 7d or 24h: units d, h, m, s in this order, 1s to 3650d';

/** How long a port is kept that its workload no longer needs: for ever, not at all, or whole seconds; else undefined. */
export function parseRetentionTime(text: string): "Retain" | "Delete" | number | undefined {
  if (text === "Retain" || text === "Delete") return text;
  const ms = parseDuration(text);
  return ms === undefined || ms === 0 || ms % 1000 !== 0 ? undefined : ms / 1000;
}
