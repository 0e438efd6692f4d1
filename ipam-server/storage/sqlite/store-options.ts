import type { StoreOptions } from "../store-options.ts";

export interface SqliteStoreOptions extends StoreOptions {
  /** The database file, created if it does not exist. Its directory must exist. */
  path: string;
}
