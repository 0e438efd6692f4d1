import type { StoreOptions } from "../store-options.ts";

export interface SqliteStoreOptions extends StoreOptions {
  /** The database file, created if it does not exist. Its directory must exist. */
  path: string;
  /** Called with what the store does because its disk is full or nearly so. */
  onLowSpace?: (message: string) => void;
}
