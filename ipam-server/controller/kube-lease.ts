/** A Lease (coordination.k8s.io/v1) as far as an election needs it. */
export interface LeaseRecord {
  /** Empty: given up. */
  holder: string;
  durationSeconds: number;
  acquireTime: string;
  renewTime: string;
  transitions: number;
}

export interface LeaseClock {
  /** Milliseconds since 1970, for the record's times, which people read. */
  wallMs: number;
  /** Milliseconds that never jump, for judging how long nothing has changed. */
  steadyMs: number;
}

/** What this candidate has seen, by its own clock: another's clock in the record proves nothing. */
export interface LeaseSeen {
  /** The record as it was when it last changed, and when that was seen. */
  record: LeaseRecord | undefined;
  changedAt: number;
}

export type LeaseStep =
  /** Write this record (creating the Lease if there is none), on the version that was read. */
  { do: "write"; record: LeaseRecord; role: "leader" } | { do: "wait"; role: "follower"; leader: string };

/**
 * ```
 *            none, given up, or unchanged for its duration: write
 *  follower ------------------------------------------------------> leader
 *     ^                                                              |  | renew: write
 *     +--------------- somebody else's name in it -------------------+  |
 *     +--------------- no successful write for the renew deadline ------+   (leader.ts)
 * ```
 */
export function decideLease(
  seen: LeaseSeen,
  current: LeaseRecord | undefined,
  identity: string,
  durationSeconds: number,
  clock: LeaseClock,
): { seen: LeaseSeen; step: LeaseStep } {
  const changed = !sameRecord(seen.record, current);
  const next: LeaseSeen = changed ? { record: current, changedAt: clock.steadyMs } : seen;
  const time = microTime(clock.wallMs);
  const isMine = current?.holder === identity;
  const isFree = current === undefined || current.holder === "";
  const isOver = !isFree && clock.steadyMs - next.changedAt >= current.durationSeconds * 1000;
  if (!isMine && !isFree && !isOver)
    return { seen: next, step: { do: "wait", role: "follower", leader: current.holder } };
  const record: LeaseRecord = {
    holder: identity,
    durationSeconds,
    acquireTime: isMine ? current.acquireTime : time,
    renewTime: time,
    transitions: current === undefined ? 0 : current.transitions + (isMine ? 0 : 1),
  };
  return { seen: next, step: { do: "write", record, role: "leader" } };
}

/** What a leader that goes leaves behind, so that the next need not wait. */
export function resign(record: LeaseRecord, wallMs: number): LeaseRecord {
  return { ...record, holder: "", durationSeconds: 1, renewTime: microTime(wallMs) };
}

/** Kubernetes' MicroTime: RFC 3339 with six digits. */
function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace("Z", "000Z");
}

function sameRecord(a: LeaseRecord | undefined, b: LeaseRecord | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.holder === b.holder && a.renewTime === b.renewTime && a.transitions === b.transitions;
}
