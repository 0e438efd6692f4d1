import { Semaphore } from "./semaphore.ts";

/** Runs the work for every item, at most `limit` at a time. Rejects with the first failure after all items have run. */
export async function inParallel<T>(
  limit: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const semaphore = new Semaphore(limit);
  const failures: unknown[] = [];
  const run = (item: T) => semaphore.run(() => work(item)).catch(error => failures.push(error));
  await Promise.all(items.map(run));
  if (failures.length > 0) throw failures[0];
}
