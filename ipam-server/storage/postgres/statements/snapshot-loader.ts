import type { Catalog, SubnetRecord } from "../../../domain/model/catalog.ts";
import type { Item } from "../../../domain/model/mutation.ts";
import { type AllocationNeeds, type BindingKey, type Needs, nameOf } from "../../../domain/model/needs.ts";
import type { HeldIp, PortRecord } from "../../../domain/model/port-record.ts";
import type { AddressState, FreedAddress, FreshRun, Snapshot } from "../../../domain/model/snapshot.ts";
import { decodeFreedState, FREED_STATE_COLUMNS, type FreedStateRow } from "../../freed-rows.ts";
import { decodeOffset, encodeOffset } from "../../offset-code.ts";
import { toArray } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";
import { type CatalogState, readState } from "../rows/catalog-rows.ts";
import { decodeMac, decodePort, encodeMac, PORT_COLUMN_LIST, type PortRow } from "../rows/port-rows.ts";
import { FreshSearch, readPools } from "./fresh-search.ts";
import { findSlots, NO_SLOTS } from "./slot-finder.ts";

/** Subnets first, by id, then ports, by name: every replica locks in this order. */
const LOCK_SUBNETS = prepare(
  `SELECT id, held, outside, freed FROM subnets WHERE id = ANY (ARRAY(
     SELECT subnet_id FROM fixed_ips WHERE port_key = ANY (ARRAY(SELECT key FROM ports WHERE name = ANY ($1::text[])))
     UNION SELECT unnest($2::int[]) WHERE $3 = 1 OR EXISTS (
       SELECT FROM unnest($4::text[]) AS wanted (name)
       WHERE NOT EXISTS (SELECT FROM ports WHERE ports.name = wanted.name))
     UNION SELECT unnest($5::int[])
   )) ORDER BY id FOR NO KEY UPDATE`,
);
const LOCK_PORTS = prepare(
  `SELECT ${PORT_COLUMN_LIST} FROM ports WHERE name = ANY ($1::text[]) ORDER BY name FOR UPDATE`,
);
const FIXED_IPS = prepare(
  `SELECT port_key, subnet_id, ip_offset::text FROM fixed_ips
   WHERE port_key = ANY (ARRAY(SELECT key FROM ports WHERE name = ANY ($1::text[])))`,
);
const QUEUES = prepare(
  `SELECT s.id, q.ip_offset::text, q.freed_at, q.last_port, q.released FROM subnets AS s
   CROSS JOIN LATERAL (
     SELECT ip_offset, freed_at, last_port, released FROM freed WHERE subnet_id = s.id AND pooled = 1
     ORDER BY subnet_id, freed_at, ip_offset LIMIT $2::int) AS q
   WHERE s.id = ANY ($1::int[]) AND s.freed > 0
   ORDER BY s.id, q.freed_at, q.ip_offset`,
);
const STATES = prepare(
  `SELECT w.subnet_id, w.ip_offset::text, fixed_ips.port_key, ${FREED_STATE_COLUMNS}
   FROM unnest($1::int[], $2::bigint[]) AS w (subnet_id, ip_offset)
   LEFT JOIN fixed_ips ON fixed_ips.subnet_id = w.subnet_id AND fixed_ips.ip_offset = w.ip_offset
   LEFT JOIN freed ON freed.subnet_id = w.subnet_id AND freed.ip_offset = w.ip_offset`,
);
const MACS = prepare("SELECT network_id, mac, name FROM ports WHERE mac = ANY ($1::bigint[])");
const BOUND = prepare(
  `SELECT name FROM unnest($1::text[], $2::text[]) AS w (host, sandbox_id) JOIN ports
     ON ports.host = w.host AND ports.sandbox_id = w.sandbox_id
     AND substr(ports.sandbox_id, 1, 12) = substr(w.sandbox_id, 1, 12)
   UNION
   SELECT name FROM unnest($3::text[], $4::text[]) AS w (host, owner_uid) JOIN ports
     ON ports.host = w.host AND ports.owner_uid = w.owner_uid
   UNION
   SELECT name FROM unnest($5::text[]) AS w (host) JOIN ports ON ports.inactive_host = w.host`,
);

const HOLDERS = prepare(
  `SELECT ports.name FROM unnest($1::int[], $2::bigint[]) AS w (subnet_id, ip_offset)
   JOIN fixed_ips ON fixed_ips.subnet_id = w.subnet_id AND fixed_ips.ip_offset = w.ip_offset
   JOIN ports ON ports.key = fixed_ips.port_key`,
);

export type FixedIpRow = [portKey: number, subnetId: number, offset: string];
type QueueRow = [subnetId: number, offset: string, freedAt: number, lastPort: string, released: number];
type StateRow = [
  subnetId: number,
  offset: string,
  heldBy: number | null,
  ...state: FreedStateRow | [freedAt: null, ...absent: null[]],
];

export interface Loaded {
  snapshot: Omit<Snapshot, "nextPortKey">;
  /** The catalog's state as the transaction sees it. */
  state: CatalogState;
  /** Subnets that this transaction has locked. */
  locked: ReadonlySet<number>;
}

/** What to lock and load for a batch: its needs, and how many addresses it may allocate from each network. */
interface LoadPlan {
  batch: readonly Item[];
  needs: Needs;
  allocations: AllocationNeeds;
  /** Subnets that an earlier attempt needed. */
  alsoLock: ReadonlySet<number>;
  /** Lock the candidates even if every claimed port exists. */
  surelyAllocates: boolean;
}

/** Locks and loads what a batch needs, usually in one round trip. Updates the catalog's counters and cursors. */
export async function loadSnapshot(send: Send, plan: LoadPlan, catalog: Catalog): Promise<Loaded> {
  const { needs, allocations } = plan;
  const holders = needs.holdersOf.length > 0 ? await findHolders(send, needs.holdersOf, catalog) : [];
  const bound = [...holders, ...(needs.bindings.length > 0 ? await findBound(send, needs.bindings) : [])];
  const slots = needs.slots.length > 0 ? await findSlots(send, needs.slots) : NO_SLOTS;
  const names = toArray([...new Set([...needs.portNames, ...bound, ...slots.names])].sort());
  const candidates = [...allocations.keys()].flatMap(id => catalog.network(id).subnets);
  const ids = toArray(candidates.map(({ id }) => id));
  const count = Math.max(0, ...allocations.values());
  const searches = candidates.map(subnet => new FreshSearch(subnet, count));
  const poolIds = searches.flatMap(search => search.firstPoolIds);
  const exhausted = searches.filter(search => search.isExhausted).map(({ subnet }) => subnet.id);
  const [locks, state, ports, fixedIps, pools, queues, addresses, macs] = await Promise.all([
    send<[id: number, held: number, outside: number, freed: number]>(
      LOCK_SUBNETS,
      toArray([...namesThatMayFree(plan.batch), ...bound]),
      ids,
      plan.surelyAllocates || needs.slots.length > 0 ? 1 : 0,
      candidates.length > 0 ? toArray(namesThatMayAllocate(plan.batch)) : "{}",
      toArray([...plan.alsoLock]),
    ),
    readState(send),
    send<PortRow & unknown[]>(LOCK_PORTS, names),
    send<FixedIpRow>(FIXED_IPS, names),
    poolIds.length > 0 ? readPools(send, poolIds, count) : [],
    exhausted.length > 0 ? send<QueueRow>(QUEUES, toArray(exhausted), count) : [],
    needs.addresses.length > 0 ? loadStates(send, needs.addresses, catalog) : [],
    needs.macs.length > 0 ? findMacs(send, needs.macs) : [],
  ]);

  const locked = new Set<number>();
  for (const [id, held, outside, freed] of locks) {
    locked.add(id);
    if (catalog.hasSubnet(id)) Object.assign(catalog.subnet(id), { held, outside, freed });
  }
  const queueOf = Map.groupBy(queues, ([subnetId]) => subnetId);
  const rowOf = new Map(pools.map(row => [row[0], row]));
  const fresh = new Map<number, readonly FreshRun[]>();
  const freed = new Map<number, readonly FreedAddress[]>();
  for (const search of searches) {
    const { subnet } = search;
    if (!locked.has(subnet.id)) continue;
    const runs = await search.load(send, rowOf);
    fresh.set(subnet.id, runs);
    const found = runs.reduce((sum, { offsets }) => sum + offsets.length, 0);
    if (found >= count || subnet.freed === 0) continue;
    const rows = queueOf.get(subnet.id) ?? (await send<QueueRow>(QUEUES, toArray([subnet.id]), count));
    freed.set(
      subnet.id,
      rows.map(([, offset, freedAt, lastPort, released]) => ({
        ...{ offset: decode(subnet, offset), freedAt, lastPort },
        ...{ released: released === 1, conflict: undefined },
      })),
    );
  }
  const known = hasAllSubnets(catalog, fixedIps) ? withFixedIps(ports, fixedIps, catalog) : [];
  return {
    snapshot: { catalog, ports: known, addresses, macs, vacantSlots: slots.vacant, fresh, freed },
    state,
    locked,
  };
}

/** False if another replica has added a subnet; then the revision has changed too, and the batch is decided again. */
const hasAllSubnets = (catalog: Catalog, rows: readonly FixedIpRow[]): boolean =>
  rows.every(([, subnetId]) => catalog.hasSubnet(subnetId));

/** Ports whose addresses the batch may free. */
function namesThatMayFree(batch: readonly Item[]): string[] {
  return batch.flatMap(item => {
    const frees =
      item.kind === "release" ||
      item.kind === "deletePort" ||
      item.kind === "expire" ||
      (item.kind === "claim" && item.claim.onMismatch === "reallocate");
    return frees ? (nameOf(item) ?? []) : [];
  });
}

const namesThatMayAllocate = (batch: readonly Item[]): string[] =>
  batch.flatMap(item => (item.kind === "claim" || item.kind === "reserve" ? (nameOf(item) ?? []) : []));

async function findBound(send: Send, bindings: readonly BindingKey[]): Promise<string[]> {
  const bySandbox = bindings.filter(({ sandboxId }) => sandboxId !== undefined);
  const byOwner = bindings.filter(({ ownerUid }) => ownerUid !== undefined);
  const rows = await send<[name: string]>(
    BOUND,
    toArray(bySandbox.map(({ host }) => host)),
    toArray(bySandbox.map(({ sandboxId }) => sandboxId ?? null)),
    toArray(byOwner.map(({ host }) => host)),
    toArray(byOwner.map(({ ownerUid }) => ownerUid ?? null)),
    // A host has few INACTIVE bindings, so the decision compares their sandboxes.
    toArray([...new Set(bindings.map(({ host }) => host))]),
  );
  return rows.map(([name]) => name);
}

async function findHolders(send: Send, ips: readonly HeldIp[], catalog: Catalog): Promise<string[]> {
  const rows = await send<[name: string]>(
    HOLDERS,
    toArray(ips.map(({ subnetId }) => subnetId)),
    toArray(ips.map(({ subnetId, offset }) => encode(catalog.subnet(subnetId), offset))),
  );
  return rows.map(([name]) => name);
}

export function withFixedIps(
  rows: readonly PortRow[],
  fixedIps: readonly FixedIpRow[],
  catalog: Catalog,
): PortRecord[] {
  const ipsByPort = new Map<number, HeldIp[]>(rows.map(([key]) => [key, []]));
  for (const [key, subnetId, stored] of fixedIps) {
    const subnet = catalog.subnet(subnetId);
    const ip = { subnetId, offset: decode(subnet, stored) };
    const ips = ipsByPort.get(key);
    if (subnet.cidr.version === 4) ips?.unshift(ip);
    else ips?.push(ip);
  }
  return rows.map(row => decodePort(row, ipsByPort.get(row[0]) ?? []));
}

async function loadStates(send: Send, ips: readonly HeldIp[], catalog: Catalog): Promise<Snapshot["addresses"]> {
  const rows = await send<StateRow>(
    STATES,
    toArray(ips.map(({ subnetId }) => subnetId)),
    toArray(ips.map(({ subnetId, offset }) => encode(catalog.subnet(subnetId), offset))),
  );
  return rows.flatMap(([subnetId, stored, heldBy, ...freed]) => {
    const state: AddressState | undefined =
      heldBy !== null ? { heldBy } : isFreed(freed) ? decodeFreedState(freed) : undefined;
    return state ? [{ subnetId, offset: decode(catalog.subnet(subnetId), stored), state }] : [];
  });
}

const isFreed = (row: readonly unknown[]): row is FreedStateRow => row[0] !== null;

async function findMacs(send: Send, macs: readonly string[]): Promise<Snapshot["macs"]> {
  const encoded = macs.map(encodeMac).filter(Number.isSafeInteger);
  const rows = await send<[networkId: number, mac: number, portName: string]>(MACS, toArray(encoded));
  return rows.map(([networkId, mac, portName]) => ({ networkId, mac: decodeMac(mac), portName }));
}

const encode = ({ cidr }: SubnetRecord, offset: bigint): bigint => encodeOffset(cidr.version, offset);
const decode = ({ cidr }: SubnetRecord, stored: string): bigint => decodeOffset(cidr.version, stored);
