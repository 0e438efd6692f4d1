import type pg from "pg";

const CLOSE_TIMEOUT_MS = 1000;

/** Ends the session, and drops the connection if the host does not answer within CLOSE_TIMEOUT_MS. */
export async function close(client: pg.Client): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const late = setTimeout(resolve, CLOSE_TIMEOUT_MS);
  await Promise.race([client.end().catch(() => {}), promise]);
  clearTimeout(late);
  drop(client);
}

/** Destroys the connection without ending the session. */
export function drop(client: pg.Client): void {
  client.connection.stream.destroy();
}

/** After the signal aborts, a pending connect or query on this client fails within CLOSE_TIMEOUT_MS. */
export function dropAfterAbort(signal: AbortSignal, client: pg.Client): void {
  const cut = () => setTimeout(() => drop(client), CLOSE_TIMEOUT_MS).unref();
  if (signal.aborted) cut();
  signal.addEventListener("abort", cut);
  client.on("end", () => signal.removeEventListener("abort", cut));
}
