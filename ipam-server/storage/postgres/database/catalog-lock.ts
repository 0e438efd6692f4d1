/** `read` excludes changes of networks. `change` excludes every other decision. */
export type CatalogLock = "read" | "change";

/** "Moor" in ASCII. */
export const LOCK_SPACE = 0x4d_6f_6f_72;
const catalogLock = (acquire: string) => `${acquire}(${LOCK_SPACE}, 1)`;
/** SQL expressions that acquire the lock. */
export const LOCK_CATALOG: Readonly<Record<CatalogLock, string>> = {
  read: catalogLock("pg_advisory_xact_lock_shared"),
  change: catalogLock("pg_advisory_xact_lock"),
};
