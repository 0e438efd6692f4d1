import type pg from "pg";

/**
 * PostgreSQL's function that waits for a synchronous standby. When a time-out, an administrator or a shutdown cancels the
 * wait, it warns and then acknowledges the commit (src/backend/replication/syncrep.c). The text of a warning is translated.
 */
const WAIT_ROUTINE = "SyncRepWaitForLSN";

const unreplicated = new WeakSet<pg.Client>();

/** Observes the warnings of a connection, for `assertReplicated`. */
export function watchReplication(client: pg.Client): void {
  client.on("notice", ({ routine }) => {
    if (routine === WAIT_ROUTINE) unreplicated.add(client);
  });
}

/**
 * Throws, once a commit of this connection was acknowledged that no standby has confirmed, what a lost connection throws:
 * the outcome is unknown until a later commit, which is replicated in order, shows it.
 */
export function assertReplicated(client: pg.Client): void {
  if (!unreplicated.has(client)) return;
  throw Object.assign(new Error("no synchronous standby confirmed the commit"), { code: "08006" });
}
