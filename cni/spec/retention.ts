import type { Retention } from "../../ipam-server/contract/index.ts";
import { parseDuration } from "../../ipam-server/process/duration.ts";

export const RETENTION_ACCEPTS =
  '"ephemeral", "sticky" or a duration such as 24h or 1h30m: units d, h, m, s in this order, 1s to 3650d';

/** `ephemeral`, `sticky`, or how long an unbound port is kept (`24h`, `1h30m`), in whole seconds; else undefined. */
export function parseRetention(text: string): Retention | undefined {
  if (text === "ephemeral" || text === "sticky") return { policy: text };
  const ms = parseDuration(text);
  if (ms === undefined || ms === 0 || ms % 1000 !== 0) return undefined;
  return { policy: "sticky", ttlSeconds: ms / 1000 };
}
