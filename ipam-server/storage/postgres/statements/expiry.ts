import type { WorkloadRetention } from "../../../contract/index.ts";
import type { DecisionContext } from "../../../domain/decide/decision-scope.ts";
import { MAX_EXPIRED } from "../../limits.ts";
import { prepare, type Send } from "../database/statement.ts";

const EXPIRED = prepare(
  `SELECT name FROM ports WHERE expires_at <= $1 AND host IS NULL ORDER BY expires_at LIMIT ${MAX_EXPIRED}`,
);
/**
 * Shifts what waits by the jump, $1, and shortens waits that exceed their delay. $2: now, $3: the end of a lease that
 * begins now, $4 and $5: the server's retention. What had ended before the jump stays ended, and shifts with a jump back.
 */
const seconds = (key: keyof WorkloadRetention, mark: string) =>
  `substring(coalesce(keep::json ->> '${key}',
     (SELECT n.retention::json ->> '${key}' FROM networks AS n WHERE n.id = network_id), ${mark}::text) from '^[0-9]+$')`;
const LONGEST = `CASE WHEN host IS NOT NULL THEN $3::bigint ELSE $2::bigint + 1000 * CASE keep::json ->> 'unneeded'
  WHEN 'deleted' THEN ${seconds("whenDeleted", "$4")}::bigint
  WHEN 'scaled' THEN ${seconds("whenScaled", "$5")}::bigint
  ELSE ttl_seconds END END`;
const CORRECT = prepare(
  `WITH shifted AS (
     UPDATE freed SET freed_at = least(freed_at + $1::bigint, $2::bigint)
     WHERE conflict_mac IS NULL AND ($1::bigint <> 0 OR freed_at > $2::bigint)
   ), cooled AS (
     UPDATE cooling SET freed_at = least(freed_at + $1::bigint, $2::bigint)
     WHERE $1::bigint <> 0 OR freed_at > $2::bigint
   ) UPDATE ports SET expires_at = least(expires_at + $1::bigint, ${LONGEST})
     WHERE expires_at > CASE WHEN $1::bigint < 0 THEN 0 ELSE $2::bigint - $1::bigint END
       AND ($1::bigint <> 0 OR expires_at > ${LONGEST})`,
);

/** With `jumpMs` corrects what ends by the clock; resolves to some names of unbound ports whose retention has ended. */
export async function findExpired(
  send: Send,
  { now, leaseMs, retention }: Pick<DecisionContext, "now" | "leaseMs" | "retention">,
  jumpMs: number | undefined,
): Promise<string[]> {
  const { whenDeleted, whenScaled } = retention;
  if (jumpMs !== undefined) await send(CORRECT, jumpMs, now, now + leaseMs, `${whenDeleted}`, `${whenScaled}`);
  return (await send<[name: string]>(EXPIRED, now)).map(([name]) => name);
}
