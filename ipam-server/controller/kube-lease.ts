/** The fields of a Kubernetes Lease (coordination.k8s.io/v1) that an election uses. */
export interface KubeLease {
  /** Empty after the holder resigned. */
  holder: string;
  durationSeconds: number;
  acquireTime: string;
  renewTime: string;
  transitions: number;
}

export interface ElectionClock {
  /** Milliseconds since 1970, for the record's times. */
  wallMs: number;
  /** Monotonic milliseconds, for measuring how long the record has not changed. */
  steadyMs: number;
}

/** The record as this replica observed it. Times in the record come from another clock and are not compared. */
export interface ObservedKubeLease {
  /** The record at its last change. */
  record: KubeLease | undefined;
  /** When that change was observed, on the monotonic clock. */
  changedAt: number;
}

type KubeLeaseStep =
  /** Write this record to the version that was read; create the Lease if it does not exist. */
  { do: "write"; record: KubeLease; role: "leader" } | { do: "wait"; role: "follower"; leader: string };

/**
 * ```
 *          absent, resigned, or unchanged for its duration: write
 *  follower ------------------------------------------------------> leader
 *     ^                                                              |  | renew: write
 *     +--------------- another holder in it -------------------------+  |
 *     +--------------- no successful write for the renew deadline ------+   (leader.ts)
 * ```
 */
export function decideKubeLease(
  observed: ObservedKubeLease,
  current: KubeLease | undefined,
  identity: string,
  durationSeconds: number,
  clock: ElectionClock,
): { observed: ObservedKubeLease; step: KubeLeaseStep } {
  const changed = !isSameRecord(observed.record, current);
  const next: ObservedKubeLease = changed ? { record: current, changedAt: clock.steadyMs } : observed;
  const time = microTime(clock.wallMs);
  const isMine = current?.holder === identity;
  const isFree = current === undefined || current.holder === "";
  const hasExpired = !isFree && clock.steadyMs - next.changedAt >= current.durationSeconds * 1000;
  if (!isMine && !isFree && !hasExpired)
    return { observed: next, step: { do: "wait", role: "follower", leader: current.holder } };
  const record: KubeLease = {
    holder: identity,
    durationSeconds,
    acquireTime: isMine ? current.acquireTime : time,
    renewTime: time,
    transitions: current === undefined ? 0 : current.transitions + (isMine ? 0 : 1),
  };
  return { observed: next, step: { do: "write", record, role: "leader" } };
}

/** Returns the record with which a leader resigns, so that the next one need not wait. */
export function resign(record: KubeLease, wallMs: number): KubeLease {
  return { ...record, holder: "", durationSeconds: 1, renewTime: microTime(wallMs) };
}

/** Kubernetes' MicroTime: RFC 3339 with six digits. */
function microTime(wallMs: number): string {
  return new Date(wallMs).toISOString().replace("Z", "000Z");
}

function isSameRecord(a: KubeLease | undefined, b: KubeLease | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.holder === b.holder && a.renewTime === b.renewTime && a.transitions === b.transitions;
}
