import type { NetworkManifest } from "../../../ipam-server/contract/index.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { assertHealthy, Clock, REUSE_DELAY_MS } from "../support/builders.ts";
import type { Engine, EngineOptions } from "./engine.ts";

/** Runs the body on a fresh store with these networks, and checks the store's own promises after it. */
export async function withStore(
  engine: Engine,
  networks: readonly NetworkManifest[],
  body: (store: Store, clock: Clock) => Promise<void>,
  options: Partial<EngineOptions> = {},
): Promise<void> {
  await using database = await engine.createDatabase();
  const clock = new Clock();
  await using store = await database.open({ reuseDelayMs: REUSE_DELAY_MS, clock: clock.read, ...options });
  for (const manifest of networks) await store.putNetwork(manifest, "test");
  await body(store, clock);
  await assertHealthy(store);
}
