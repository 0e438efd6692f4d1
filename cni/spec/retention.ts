import type { Retention } from "../../ipam-server/contract/index.ts";
import { invalidKey } from "./shape.ts";

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** `ephemeral`, `sticky`, or how long an unbound port is kept: `90s`, `24h`, `7d`, `1h30m`. */
export function parseRetention(value: unknown, key: string): Retention {
  if (value === "ephemeral" || value === "sticky") return { policy: value };
  const takes = '"ephemeral", "sticky" or a duration such as "24h"';
  if (typeof value !== "string" || !/^(\d{1,9}[smhd])+$/.test(value)) throw invalidKey(key, takes, value);
  let ttlSeconds = 0;
  for (const [, amount, unit] of value.matchAll(/(\d+)([smhd])/g)) {
    ttlSeconds += Number(amount) * (SECONDS[unit ?? ""] ?? 0);
  }
  if (ttlSeconds === 0) throw invalidKey(key, takes, value);
  return { policy: "sticky", ttlSeconds };
}
