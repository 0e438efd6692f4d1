import { findOutdatedPools } from "../../../domain/networks/plan-network-change.ts";
import type { Reader } from "../database/reader.ts";
import { prepare } from "../database/statement.ts";
import type { Writer } from "../database/writer.ts";
import { loadCatalog, type VersionedCatalog } from "../rows/catalog-rows.ts";
import { updatePools } from "../statements/network-writer.ts";

/** After each change of networks. */
export const NEXT_REVISION = prepare("UPDATE catalog_state SET revision = revision + 1");

/** Loads the networks of a database that may come from an earlier version. */
export async function loadUpdatedCatalog(reader: Reader, writer: Writer): Promise<VersionedCatalog> {
  const loaded = await reader.read(loadCatalog);
  if (findOutdatedPools(loaded.catalog).length === 0) return loaded;
  await writer.transact("change", async send => {
    await updatePools(send, (await loadCatalog(send)).catalog);
    return { writes: [{ statement: NEXT_REVISION, values: [] }], result: undefined };
  });
  return reader.read(loadCatalog);
}
