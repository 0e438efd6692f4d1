import { close } from "../database/close-connection.ts";
import { migrate } from "../database/migrate.ts";
import type { Primary } from "../database/primary.ts";

/** How long a migration may block changes while it waits for a lock. */
const MIGRATION_LOCK_MS = 1000;

/** Creates or migrates the tables, and from then on connects only to the history they belong to. */
export async function prepareDatabase(
  primary: Primary,
  now: number,
  onPromotion: (message: string) => void,
): Promise<void> {
  const client = await primary.connect({ statementMs: 600_000, lockMs: MIGRATION_LOCK_MS });
  try {
    await migrate(client, primary.name, now);
    await primary.startVerifying(client, onPromotion);
  } finally {
    await close(client);
  }
}
