import type { RecoveringHost, Recovery, RecoveryReport } from "../../contract/index.ts";
import { toTimestamp } from "../model/port-record.ts";

/** How long recovery lasts at least, so that agents of nodes that the backup does not know can connect. */
export const RECOVERY_MIN_MS = 30_000;
/** How long it lasts at most: new pods wait no longer for a node that is down. */
export const RECOVERY_LIMIT_MS = 15 * 60_000;

/** Stored with the database from the restore until recovery ends. */
export interface RecoveryState {
  /** Milliseconds since the epoch; 0 until a server opens the database. */
  since: number;
  waitingFor: readonly RecoveringHost[];
}

/** The recovery of a database whose bindings are on these hosts, as the database stores it. */
export const formatRecovery = (hosts: readonly { cluster: string | null; host: string }[]): string =>
  JSON.stringify({
    since: 0,
    waitingFor: hosts.map(({ cluster, host }) => ({ ...(cluster !== null && { cluster }), host })),
  });

export const parseRecovery = (stored: string | null | undefined): RecoveryState | undefined =>
  stored == null ? undefined : JSON.parse(stored);

/** A host that reports something pending is waited for, also if the backup has nothing of it. */
export function withReport(state: RecoveryState, report: RecoveryReport): RecoveryState {
  const { cluster, host, pending } = report;
  const others = state.waitingFor.filter(each => !isHost(each, cluster, host));
  if (pending === 0) return { ...state, waitingFor: others };
  return { ...state, waitingFor: [...others, { ...(cluster !== undefined && { cluster }), host, pending }] };
}

export function isOver({ since, waitingFor }: RecoveryState, now: number): boolean {
  const elapsedMs = now - since;
  return elapsedMs >= RECOVERY_LIMIT_MS || (waitingFor.length === 0 && elapsedMs >= RECOVERY_MIN_MS);
}

/** True if the host may have something plugged that the IPAM does not know. */
export function isWaitingFor({ waitingFor }: RecoveryState, cluster: string | undefined, host: string): boolean {
  return waitingFor.some(each => isHost(each, cluster, host));
}

/** Continues "nothing new is assigned". */
export function describeWait({ waitingFor: { length } }: RecoveryState): string {
  if (length === 0) return `for ${RECOVERY_MIN_MS / 1000} seconds, in which hosts may report`;
  return length === 1 ? "until 1 host has reported" : `until ${length} hosts have reported`;
}

export function toRecovery(state: RecoveryState | undefined): Recovery {
  if (state === undefined) return { active: false };
  const { since, waitingFor } = state;
  return {
    active: true,
    since: toTimestamp(since),
    until: toTimestamp(since + RECOVERY_LIMIT_MS),
    waitingFor: [...waitingFor],
  };
}

const isHost = (each: RecoveringHost, cluster: string | undefined, host: string): boolean =>
  each.host === host && each.cluster === cluster;
