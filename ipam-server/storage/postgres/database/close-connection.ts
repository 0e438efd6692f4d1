import type pg from "pg";

const CLOSE_TIMEOUT_MS = 1000;

/** Says goodbye, but waits for no answer of a host that is gone. */
export async function close(client: pg.Client): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const late = setTimeout(resolve, CLOSE_TIMEOUT_MS);
  await Promise.race([client.end().catch(() => {}), promise]);
  clearTimeout(late);
  drop(client);
}

/** Cuts the connection off at once. */
export function drop(client: pg.Client): void {
  client.connection.stream.destroy();
}

/** Once the signal aborts, what still waits for the connection, or for an answer on it, does not wait for long. */
export function dropSoonAfter(signal: AbortSignal, client: pg.Client): void {
  const cut = () => setTimeout(() => drop(client), CLOSE_TIMEOUT_MS).unref();
  if (signal.aborted) cut();
  signal.addEventListener("abort", cut);
  client.on("end", () => signal.removeEventListener("abort", cut));
}
