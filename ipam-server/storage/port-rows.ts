import type {
  Labels,
  NameFrom,
  OwnerKind,
  PlaneState,
  Port,
  Reservation,
  Workload,
  WorkloadRetention,
} from "../contract/index.ts";
import type { HeldIp, InactiveRecord, PortRecord } from "../domain/model/port-record.ts";

/** Columns of `ports` on every engine, in the order of PortRow. Times are milliseconds; MACs are 48-bit integers. */
export const PORT_COLUMNS = [
  "key",
  "id",
  "name",
  "network_id",
  "mac",
  "labels",
  "sticky",
  "ttl_seconds",
  "owner_kind",
  "owner_uid",
  "owner_created_at",
  "host",
  "sandbox_id",
  "sandbox_interface",
  "bound_at",
  "reservation",
  "cluster",
  "namespace",
  "workload",
  "epoch",
  "underlay",
  "overlay",
  "fenced",
  "created_at",
  "updated_at",
  "released_at",
  "expires_at",
  "slot_of",
  "slot",
  "name_from",
  "last_epoch",
  "inactive_host",
  "inactive",
  "keep",
  "attempted_at",
] as const;

export type PortColumn = (typeof PORT_COLUMNS)[number];

export type PortRow = [
  key: number,
  id: string,
  name: string,
  networkId: number,
  mac: number,
  labels: string | null,
  sticky: number,
  ttlSeconds: number | null,
  ownerKind: OwnerKind | null,
  ownerUid: string | null,
  ownerCreatedAt: number | null,
  host: string | null,
  sandboxId: string | null,
  sandboxInterface: string | null,
  boundAt: number | null,
  reservation: string | null,
  cluster: string | null,
  namespace: string | null,
  workload: string | null,
  epoch: number,
  underlay: PlaneState,
  overlay: PlaneState,
  fenced: number,
  createdAt: number,
  updatedAt: number,
  releasedAt: number | null,
  expiresAt: number | null,
  slotOf: string | null,
  slot: number | null,
  nameFrom: NameFrom | null,
  lastEpoch: number | null,
  inactiveHost: string | null,
  inactive: string | null,
  keep: string | null,
  attemptedAt: number | null,
];

/** Encodes every port and event, so it computes two small integers and allocates no text. */
export function encodeMac(mac: string): number {
  const half = (from: number) => (byteAt(mac, from) << 16) | (byteAt(mac, from + 3) << 8) | byteAt(mac, from + 6);
  return half(0) * 0x1_00_00_00 + half(9);
}

const byteAt = (mac: string, at: number): number => (digitAt(mac, at) << 4) | digitAt(mac, at + 1);

/** `0` to `9` start at 0x30; the low bits of a letter of either case count from 1. */
function digitAt(mac: string, at: number): number {
  const code = mac.charCodeAt(at);
  return code <= 0x39 ? code & 0xf : (code & 0xf) + 9;
}

export function decodeMac(mac: number): string {
  const digits = mac.toString(16).padStart(12, "0");
  return `${digits.slice(0, 2)}:${digits.slice(2, 4)}:${digits.slice(4, 6)}:${digits.slice(6, 8)}:${digits.slice(8, 10)}:${digits.slice(10)}`;
}

function encodeLabels(labels: Labels): string | null {
  for (const _ in labels) return JSON.stringify(labels);
  return null;
}

export function encodePort(port: PortRecord): PortRow {
  const { owner, binding, retention } = port;
  return [
    port.key,
    port.id,
    port.name,
    port.networkId,
    encodeMac(port.mac),
    encodeLabels(port.labels),
    retention.policy === "sticky" ? 1 : 0,
    retention.ttlSeconds ?? null,
    owner?.kind ?? null,
    owner?.uid ?? null,
    owner?.createdAt ?? null,
    binding?.host ?? null,
    binding?.sandbox?.id ?? null,
    binding?.sandbox?.interface ?? null,
    binding?.boundAt ?? null,
    port.reservation ? JSON.stringify(port.reservation) : null,
    port.cluster ?? null,
    port.namespace ?? null,
    port.workload ? JSON.stringify(port.workload) : null,
    port.epoch,
    port.underlay,
    port.overlay,
    port.previousBindingReleased ? 1 : 0,
    port.createdAt,
    port.updatedAt,
    port.releasedAt ?? null,
    port.expiresAt ?? null,
    port.slot?.of ?? null,
    port.slot?.number ?? null,
    port.nameFrom ?? null,
    port.lastEpoch > port.epoch ? port.lastEpoch : null,
    port.inactive?.host ?? null,
    port.inactive ? JSON.stringify(port.inactive) : null,
    encodeKeep(port),
    binding?.attemptedAt ?? null,
  ];
}

/** How long the port is kept, as far as few ports say it. */
type Keep = WorkloadRetention & Pick<Port, "unneeded"> & { protected?: boolean };

function encodeKeep({ retention: { whenDeleted, whenScaled }, unneeded, isProtected }: PortRecord): string | null {
  if (whenDeleted === undefined && whenScaled === undefined && unneeded === undefined && !isProtected) return null;
  return JSON.stringify({ whenDeleted, whenScaled, unneeded, ...(isProtected && { protected: true }) });
}

/** Trusts the row, because only Mooring writes it. An engine may have more columns after these. */
export function decodePort(row: readonly [...PortRow, ...unknown[]], fixedIps: readonly HeldIp[]): PortRecord {
  const [key, id, name, networkId, mac, labels, sticky, ttlSeconds, ownerKind, ownerUid, ownerCreatedAt, ...rest] = row;
  const [host, sandboxId, sandboxInterface, boundAt, reservation, cluster, namespace, workload, ...states] = rest;
  const [epoch, underlay, overlay, fenced, createdAt, updatedAt, releasedAt, expiresAt, ...added] = states;
  const [slotOf, slot, nameFrom, lastEpoch, , inactive, keep, attemptedAt] = added;
  const { unneeded, protected: isProtected = false, ...times }: Keep = keep === null ? {} : parseColumn<Keep>(keep);
  return {
    key,
    id,
    name,
    networkId,
    mac: decodeMac(mac),
    fixedIps,
    labels: labels === null ? {} : parseColumn<Labels>(labels),
    retention: { policy: sticky ? "sticky" : "ephemeral", ...(ttlSeconds !== null && { ttlSeconds }), ...times },
    owner:
      ownerKind !== null && ownerUid !== null && ownerCreatedAt !== null
        ? { kind: ownerKind, uid: ownerUid, createdAt: ownerCreatedAt }
        : undefined,
    binding:
      host === null
        ? undefined
        : {
            host,
            sandbox:
              sandboxId !== null && sandboxInterface !== null
                ? { id: sandboxId, interface: sandboxInterface }
                : undefined,
            attemptedAt: attemptedAt ?? undefined,
            boundAt: boundAt ?? 0,
          },
    inactive: inactive === null ? undefined : parseColumn<InactiveRecord>(inactive),
    reservation: reservation === null ? undefined : parseColumn<Reservation>(reservation),
    cluster: cluster ?? undefined,
    namespace: namespace ?? undefined,
    workload: workload === null ? undefined : parseColumn<Workload>(workload),
    nameFrom: nameFrom ?? undefined,
    slot: slotOf === null || slot === null ? undefined : { of: slotOf, number: slot },
    epoch,
    // A program older than the column leaves it behind.
    lastEpoch: Math.max(lastEpoch ?? 0, epoch),
    underlay,
    overlay,
    previousBindingReleased: fenced === 1,
    createdAt,
    updatedAt,
    releasedAt: releasedAt ?? undefined,
    expiresAt: expiresAt ?? undefined,
    isProtected,
    // A program older than the column leaves it behind when it binds the port.
    unneeded: host === null ? unneeded : undefined,
  };
}

/** Parses JSON that this store wrote. */
export const parseColumn = <T>(text: string): T => JSON.parse(text) as T;
