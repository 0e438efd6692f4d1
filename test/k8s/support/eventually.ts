import { setTimeout as sleep } from "node:timers/promises";

/** A look that says what it saw instead; `eventually` reports it when it gives up. */
export class NotYet extends Error {
  override readonly name = "NotYet";
}

const BETWEEN_LOOKS_MS = 250;

/**
 * Looks until `look` gives something other than undefined or false. A look that rejects counts as a no: a node that is
 * being cut off answers nothing. Rejects at the deadline with what it waited for and what it last saw.
 */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  deadlineMs = 120_000,
): Promise<Exclude<NonNullable<T>, false>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    let last: unknown;
    try {
      const value = await look();
      if (value !== undefined && value !== null && value !== false) return value as Exclude<NonNullable<T>, false>;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const seen = last instanceof Error ? `; last: ${last.message}` : "";
      throw new Error(`gave up after ${deadlineMs / 1000} s waiting for ${what}${seen}`);
    }
    await sleep(BETWEEN_LOOKS_MS);
  }
}

/** For looks: rejects with what was seen instead, unless it is so. */
export function expect(isSo: boolean, seen: () => string): true {
  if (!isSo) throw new NotYet(seen());
  return true;
}
