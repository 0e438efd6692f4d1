import type { DecisionContext } from "../../../domain/decide/decision-scope.ts";
import { MAX_EXPIRED } from "../../limits.ts";
import { prepare, type Send } from "../database/statement.ts";

const EXPIRED = prepare(
  `SELECT name FROM ports WHERE expires_at <= $1 AND host IS NULL ORDER BY expires_at LIMIT ${MAX_EXPIRED}`,
);
/**
 * Shifts what waits by the jump, $1, and shortens waits that exceed their delay. $2: now, $3: the end of a lease that
 * begins now. What had ended before the jump stays ended.
 */
const LONGEST = `CASE WHEN host IS NOT NULL THEN $3::bigint
  WHEN keep::json ->> 'unneeded' IS NULL THEN $2::bigint + ttl_seconds * 1000 END`;
const CORRECT = prepare(
  `WITH shifted AS (
     UPDATE freed SET freed_at = least(freed_at + $1::bigint, $2::bigint)
     WHERE conflict_mac IS NULL AND ($1::bigint <> 0 OR freed_at > $2::bigint)
   ) UPDATE ports SET expires_at = least(expires_at + $1::bigint, ${LONGEST})
     WHERE expires_at > $2::bigint - $1::bigint AND ($1::bigint <> 0 OR expires_at > ${LONGEST})`,
);

/** With `jumpMs` corrects what ends by the clock; resolves to some names of unbound ports whose retention has ended. */
export async function findExpired(
  send: Send,
  { now, leaseMs }: Pick<DecisionContext, "now" | "leaseMs">,
  jumpMs: number | undefined,
): Promise<string[]> {
  if (jumpMs !== undefined) await send(CORRECT, jumpMs, now, now + leaseMs);
  return (await send<[name: string]>(EXPIRED, now)).map(([name]) => name);
}
