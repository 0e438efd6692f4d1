/** Limits on the work of one query or one commit, the same on every engine. */

const DEFAULT_PAGE = 100;
const MAX_PAGE = 1000;

/** How many items a page of ports or events has at most. */
export const pageSize = (limit = DEFAULT_PAGE): number => Math.min(limit, MAX_PAGE);

/** Rows read for one page: a rare label makes many short pages instead of one slow query. */
export const MAX_SCANNED = 20_000;
/** Events scanned for one page that no index finds. */
export const MAX_SCANNED_EVENTS = 100_000;
/** Ports that a `conflict` over a network lists. */
export const MAX_PORTS_NAMED = 20;
/** Ports with an ended TTL or lease that one batch deletes. */
export const MAX_EXPIRED = 500;
/** Conflicts that one list has. */
export const MAX_CONFLICTS = 1000;
/** Freed addresses outside the pools that one commit deletes after the reuse delay. */
export const MAX_UNPOOLED = 200;

const PRUNE_FACTOR = 2;
const PRUNE_MINIMUM = 16;

/** How many old events a commit that wrote `written` events deletes at most: pruning catches up, and no commit waits long. */
export const pruneLimit = (written: number): number => written * PRUNE_FACTOR + PRUNE_MINIMUM;

/** At how many distances from the oldest event, each twice the one before, pruning looks for one that has expired. */
export const PRUNE_PROBES = 40;
