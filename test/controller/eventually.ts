import { setTimeout as sleep } from "node:timers/promises";

/** Waits until the condition returns neither undefined nor false. Rejects at the deadline, naming `what`. */
export async function eventually<T>(
  what: string,
  condition: () => T | Promise<T>,
  deadlineMs = 20_000,
): Promise<Exclude<NonNullable<T>, false>> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== null && value !== false) return value as Exclude<NonNullable<T>, false>;
    if (performance.now() > end) throw new Error(`gave up waiting for: ${what}`);
    await sleep(10);
  }
}
