/** The one grammar of durations: options, network configurations and annotations accept the same texts. */

const DURATION = /^(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?$/;
const UNITS_MS = [86_400_000, 3_600_000, 60_000, 1000, 1] as const;
/** Ten years. A longer one is a typing error, and would exceed what dates can represent. */
const MAX_MS = 3650 * 86_400_000;

export const DURATION_ACCEPTS =
  "a duration such as 60s, 24h or 1h30m: units d, h, m, s, ms in this order, at most 3650d";

/** Milliseconds of `500ms`, `60s`, `1h30m` or `30d`; undefined for any other text. */
export function parseDuration(text: string): number | undefined {
  const [whole, ...amounts] = DURATION.exec(text) ?? [];
  if (whole === undefined || whole === "") return undefined;
  const ms = UNITS_MS.reduce((sum, unitMs, index) => sum + Number(amounts[index] ?? 0) * unitMs, 0);
  return ms <= MAX_MS ? ms : undefined;
}
