import type { Timestamp } from "./values.ts";

export const EVENT_TYPES = [
  "network.created",
  "network.changed",
  "network.deleted",
  "port.created",
  "port.reserved",
  "port.bound",
  "port.moved",
  "port.released",
  "port.inactive-bound",
  "port.inactive-released",
  "port.reallocated",
  "port.deleted",
  "port.retained",
  "port.state",
  "cluster.registered",
  "cluster.held",
  "cluster.confirmed",
  "cluster.removed",
  "recovery.started",
  "recovery.ended",
  "address.conflict",
  "address.cleared",
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * Only in streams, with any filter: events after the reader's last one are no longer kept. List all ports again;
 * the events after this `seq` follow.
 */
export const GAP = "gap";

/** One row of the outbox: written in the transaction that made the change. `seq` grows without order changes. */
export interface MooringEvent {
  seq: number;
  time: Timestamp;
  type: EventType | typeof GAP;
  /** Who called, for the audit trail. */
  caller: string;
  port?: string;
  portId?: string;
  /** Cluster of the port's last claim, or the registered one. */
  cluster?: string;
  network?: string;
  /** The binding's. Host, epoch, sandbox and owner of `port.inactive-...` are the INACTIVE binding's. */
  host?: string;
  /** port.moved: where it was bound before. */
  fromHost?: string;
  epoch?: number;
  mac?: string;
  addresses?: string[];
  /** State pair after the change, e.g. `ACTIVE_BUILD`. */
  state?: string;
  sandboxId?: string;
  ownerUid?: string;
  message?: string;
}

/**
 * `GET /v1/events`: with `Accept: text/event-stream` a stream (`id:` is the seq, `event:` the type, `data:` the event),
 * else one page as JSON. `port`, `ip` and `mac` answer "when was it where", deleted ports included.
 */
export interface EventQuery {
  after?: number;
  host?: string;
  type?: EventType[];
  port?: string;
  ip?: string;
  mac?: string;
  /** JSON pages only; 1 to 1000, default 100. */
  limit?: number;
}

export interface EventList {
  events: MooringEvent[];
  /** The newest sequence number in the store. */
  lastSeq: number;
  /** The oldest one still kept; `lastSeq + 1` when none is. */
  oldestSeq: number;
  /** The next page's `after`, also of an empty page, because a page scans a limited span; absent on the last page. */
  nextAfter?: number;
}
