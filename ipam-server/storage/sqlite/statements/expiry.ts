import type Database from "better-sqlite3";
import type { DecisionContext } from "../../../domain/decide/decision-scope.ts";
import { MAX_EXPIRED } from "../../limits.ts";
import { inTransaction } from "../database/in-transaction.ts";

/** With `jumpMs` corrects what ends by the clock; returns some names of unbound ports whose retention has ended. */
export function findExpired(
  database: Database.Database,
  times: Pick<DecisionContext, "now" | "leaseMs" | "retention">,
  jumpMs: number | undefined,
): string[] {
  if (jumpMs !== undefined) inTransaction(database, () => correctWaits(database, times, jumpMs));
  return database
    .prepare<[number], string>(`SELECT name FROM ports WHERE expires_at <= ? AND host IS NULL LIMIT ${MAX_EXPIRED}`)
    .pluck()
    .all(times.now);
}

function correctWaits(
  database: Database.Database,
  { now, leaseMs, retention }: Pick<DecisionContext, "now" | "leaseMs" | "retention">,
  jumpMs: number,
): void {
  // What had ended before the jump stays ended, and shifts with a jump back.
  const before = jumpMs < 0 ? 0 : now - jumpMs;
  const run = (sql: string, values: Record<string, number | string>) => database.prepare(sql).run(values);
  if (jumpMs !== 0) {
    run("UPDATE ports SET expires_at = expires_at + $jumpMs WHERE expires_at > $before", { jumpMs, before });
    run("UPDATE freed SET freed_at = freed_at + $jumpMs WHERE conflict_mac IS NULL", { jumpMs });
  }
  run("UPDATE cooling SET freed_at = min(freed_at + $jumpMs, $now)", { jumpMs, now });
  run(
    `UPDATE ports SET expires_at = $now + ttl_seconds * 1000
     WHERE expires_at > $now AND host IS NULL AND keep ->> 'unneeded' IS NULL
       AND expires_at > $now + ttl_seconds * 1000`,
    { now },
  );
  for (const [need, key] of [["deleted", "whenDeleted"] as const, ["scaled", "whenScaled"] as const]) {
    // A time that is no number has no end.
    run(
      `UPDATE ports SET expires_at = $now + longest * 1000
       FROM (SELECT key AS due, coalesce(keep ->> '${key}', n.retention ->> '${key}', $time) AS longest
             FROM ports JOIN networks AS n ON n.id = network_id
             WHERE expires_at > $now AND host IS NULL AND keep ->> 'unneeded' = '${need}')
       WHERE key = due AND typeof(longest) <> 'text' AND expires_at > $now + longest * 1000`,
      { now, time: retention[key] },
    );
  }
  run("UPDATE ports SET expires_at = $now + $leaseMs WHERE expires_at > $now + $leaseMs AND host IS NOT NULL", {
    now,
    leaseMs,
  });
  for (const pooled of [0, 1]) {
    // One range of the index for each subnet.
    run(
      `UPDATE freed SET freed_at = $now
       WHERE subnet_id IN (SELECT id FROM subnets) AND pooled = ${pooled} AND freed_at > $now`,
      { now },
    );
  }
}
