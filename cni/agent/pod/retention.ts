import type { Retention } from "../../../ipam-server/contract/index.ts";

export const RETENTION_ACCEPTS = '"ephemeral", "sticky", or a time such as 24h (units s, m, h, d)';

const UNIT_SECONDS: Record<string, number> = { d: 86_400, h: 3_600, m: 60, s: 1 };
/** Ten years: longer is a slip of the keyboard, and no longer a number that dates can carry. */
const MAX_SECONDS = 3_650 * 86_400;

/** `ephemeral`, `sticky`, or how long an unbound port is kept (`24h`, `1h30m`, `7d`); undefined when it is none of them. */
export function parseRetention(value: string): Retention | undefined {
  if (value === "ephemeral" || value === "sticky") return { policy: value };
  const match = /^(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?$/.exec(value);
  if (match === null) return undefined;
  const ttlSeconds = ["d", "h", "m", "s"].reduce(
    (sum, unit, index) => sum + Number(match[index + 1] ?? 0) * (UNIT_SECONDS[unit] ?? 0),
    0,
  );
  return ttlSeconds > 0 && ttlSeconds <= MAX_SECONDS ? { policy: "sticky", ttlSeconds } : undefined;
}
