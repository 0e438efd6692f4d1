import type { EventList, EventQuery, EventType, MooringEvent } from "../contract/index.ts";
import { canonicalAddress } from "../domain/model/address.ts";
import { toTimestamp } from "../domain/model/port-record.ts";
import type { NewEvent } from "../domain/model/snapshot.ts";
import { decodeMac, encodeMac } from "./port-rows.ts";

/** Columns of `events` that make up an event, on every engine, in the order of EventRow. */
export const EVENT_COLUMNS = [
  "seq",
  "time",
  "type",
  "caller",
  "port",
  "port_id",
  "cluster",
  "network",
  "host",
  "from_host",
  "epoch",
  "mac",
  "addresses",
  "state",
  "sandbox_id",
  "owner_uid",
  "message",
] as const;

export type EventColumn = (typeof EVENT_COLUMNS)[number];

export type EventRow = [
  seq: number,
  time: number,
  type: EventType,
  caller: string,
  port: string | null,
  portId: string | null,
  cluster: string | null,
  network: string | null,
  host: string | null,
  fromHost: string | null,
  epoch: number | null,
  mac: number | null,
  addresses: string | null,
  state: string | null,
  sandboxId: string | null,
  ownerUid: string | null,
  message: string | null,
];

/** All columns but `seq` and `time`, which the transaction assigns. */
type NewEventRow = EventRow extends [number, number, ...infer Rest] ? Rest : never;

export function encodeEvent(event: NewEvent): NewEventRow {
  return [
    event.type as EventType,
    event.caller,
    event.port ?? null,
    event.portId ?? null,
    event.cluster ?? null,
    event.network ?? null,
    event.host ?? null,
    event.fromHost ?? null,
    event.epoch ?? null,
    event.mac === undefined ? null : encodeMac(event.mac),
    event.addresses?.join(",") ?? null,
    event.state ?? null,
    event.sandboxId ?? null,
    event.ownerUid ?? null,
    event.message ?? null,
  ];
}

function decodeEvent(row: EventRow): MooringEvent {
  const [seq, time, type, caller, port, portId, cluster, network, host, fromHost, epoch, mac, addresses, ...rest] = row;
  const [state, sandboxId, ownerUid, message] = rest;
  const event: MooringEvent = { seq, time: toTimestamp(time), type, caller };
  if (port !== null) event.port = port;
  if (portId !== null) event.portId = portId;
  if (cluster !== null) event.cluster = cluster;
  if (network !== null) event.network = network;
  if (host !== null) event.host = host;
  if (fromHost !== null) event.fromHost = fromHost;
  if (epoch !== null) event.epoch = epoch;
  if (mac !== null) event.mac = decodeMac(mac);
  if (addresses !== null) event.addresses = addresses.split(",");
  if (state !== null) event.state = state;
  if (sandboxId !== null) event.sandboxId = sandboxId;
  if (ownerUid !== null) event.ownerUid = ownerUid;
  if (message !== null) event.message = message;
  return event;
}

/** True if an index finds the query's events. All others are scanned, MAX_SCANNED_EVENTS for a page. */
export const isIndexed = ({ port, ip, mac }: EventQuery): boolean =>
  port !== undefined || ip !== undefined || mac !== undefined;

/** True if the query selects some events only, so that its cost is not that of its answer. */
export const isFiltered = (query: EventQuery): boolean =>
  isIndexed(query) || query.host !== undefined || query.type !== undefined;

/** @param scannedUpTo the last event that the page's query could find */
export function toEventList(
  rows: readonly EventRow[],
  {
    limit,
    scannedUpTo,
    lastSeq,
    oldestSeq,
  }: { limit: number; scannedUpTo: number; lastSeq: number; oldestSeq: number },
): EventList {
  const events = rows.map(decodeEvent);
  const upTo = events.length < limit ? scannedUpTo : (events.at(-1)?.seq ?? scannedUpTo);
  return { events, lastSeq, oldestSeq, ...(upTo < lastSeq && { nextAfter: upTo }) };
}

const nameIdentity = (name: string) => `name ${name}`;
export const addressIdentity = (address: string): string => `ip ${address}`;
const macIdentity = (mac: string) => `mac ${mac}`;

/**
 * The name, MAC and addresses that the port no longer has from this event on, by which its history is still found. Live
 * ports are found by their own tables. Names contain no comma, so commas join such a list.
 */
export function identitiesOf(event: NewEvent): string[] | undefined {
  const { type, port = "", mac = "", addresses = [], former } = event;
  if (type === "port.deleted") {
    return [nameIdentity(port), macIdentity(mac), ...addresses.map(addressIdentity)];
  }
  return former && [macIdentity(former.mac), ...former.addresses.map(addressIdentity)];
}

/** The identity that a query searches former owners of; undefined if it names no port, address or MAC. */
export function findIdentity({ port, ip, mac }: EventQuery): string | undefined {
  if (port !== undefined) return nameIdentity(port);
  if (ip !== undefined) return addressIdentity(canonicalAddress(ip) ?? ip);
  return mac === undefined ? undefined : macIdentity(mac.toLowerCase());
}
