import type { Port } from "../../../ipam-server/contract/index.ts";
import type { ZonePod } from "./pod.ts";
import type { Seen } from "./record.ts";

export interface FleetNode {
  name: string;
  /** Of the server it asks. */
  url: string;
}

export interface WorkerOptions {
  nodes: FleetNode[];
  journalDir: string;
}

/** What a worker is asked, by name: argument and answer. */
export interface FleetCalls {
  start: { argument: { node: string }; answer: undefined };
  stop: { argument: { node: string; how: "agent" | "crash" }; answer: undefined };
  add: { argument: { node: string; pod: ZonePod }; answer: Port };
  del: { argument: { node: string; pod: ZonePod }; answer: undefined };
  take: { argument: undefined; answer: WorkerSeen };
  unsettled: { argument: undefined; answer: string[] };
}
export type FleetCall = keyof FleetCalls;

export interface WorkerSeen {
  seen: Seen;
  /** How late this thread's event loop was, milliseconds: what is late here is no fault of the server's. */
  loopDelayP99Ms: number;
  loopDelayMaxMs: number;
  /** 0 to 1. */
  busy: number;
  journaled: number;
}

export interface Question {
  id: number;
  call: FleetCall;
  argument: unknown;
}
export type Answer = { id: number; answer: unknown } | { id: number; failure: string };
