import type { Action } from "./actions/action.ts";
import type { ConntrackFlush } from "./conntrack-flush.ts";
import type { FlowFilter, FlowMod } from "./flow.ts";
import type { GroupMod } from "./group.ts";
import type {
  AggregateStatistics,
  FlowStatistics,
  GroupDescription,
  GroupStatistics,
  Port,
  TableStatistics,
} from "./statistics.ts";

/** OpenFlow 1.5 section 7.1.1; 1.4 has the same numbers. */
export const MESSAGE = {
  hello: 0,
  error: 1,
  echoRequest: 2,
  echoReply: 3,
  experimenter: 4,
  featuresRequest: 5,
  featuresReply: 6,
  setConfig: 9,
  portStatus: 12,
  packetOut: 13,
  flowMod: 14,
  groupMod: 15,
  multipartRequest: 18,
  multipartReply: 19,
  barrierRequest: 20,
  barrierReply: 21,
  bundleControl: 33,
  bundleAdd: 34,
} as const;

/** What a bundle may hold. */
export type BundledRequest = FlowMod | GroupMod;

/** A packet that OVS executes the actions on. */
export interface PacketOut {
  readonly kind: "packetOut";
  /** The packet's input port, for matches and for `PORT.inPort`; by default none (`PORT.controller`). */
  readonly inPort?: number;
  readonly actions: readonly Action[];
  readonly packet: Uint8Array;
}

/** What can be read. `flows` and `aggregate` take a filter. */
export type StatisticsRequest =
  | { readonly kind: "statistics"; readonly of: "flows" | "aggregate"; readonly filter?: FlowFilter }
  | { readonly kind: "statistics"; readonly of: "groups" | "groupDescriptions" | "tables" | "ports" };

export type BundleCommand = "open" | "commit" | "discard";

/** What Mooring sends. */
export type Request =
  | BundledRequest
  | PacketOut
  | ConntrackFlush
  | StatisticsRequest
  | { readonly kind: "hello" }
  | { readonly kind: "echo" }
  | { readonly kind: "echoReply"; readonly data: Uint8Array }
  | { readonly kind: "features" }
  | { readonly kind: "barrier" }
  /** OVS reports ports to a management connection only after this. */
  | { readonly kind: "watchPorts" }
  | { readonly kind: "bundle"; readonly command: BundleCommand; readonly bundle: number };

/** Of each kind of statistics, the entries of one part of the reply. */
export interface StatisticsEntries {
  flows: FlowStatistics;
  aggregate: AggregateStatistics;
  tables: TableStatistics;
  groups: GroupStatistics;
  groupDescriptions: GroupDescription;
  ports: Port;
}

export interface StatisticsReply<K extends keyof StatisticsEntries = keyof StatisticsEntries> {
  readonly kind: "statistics";
  readonly of: K;
  /** Another part follows. */
  readonly hasMore: boolean;
  readonly entries: readonly StatisticsEntries[K][];
}

/** OVS rejected the request of the same xid. */
export interface ErrorReply {
  readonly kind: "error";
  readonly type: number;
  readonly code: number;
  /** Nicira's errors have a code of 16 bits and no type. */
  readonly experimenter?: number;
  /** Of a failed hello, the reason. */
  readonly text?: string;
}

export interface PortStatus {
  readonly kind: "portStatus";
  readonly reason: "added" | "deleted" | "modified";
  readonly port: Port;
}

/** What OVS sends; `other` is nothing that Mooring asked for. */
export type Reply =
  | { readonly kind: "hello"; readonly versions: readonly number[] }
  | ErrorReply
  | { readonly kind: "echoRequest" | "echoReply"; readonly data: Uint8Array }
  | { readonly kind: "features"; readonly datapathId: bigint; readonly tables: number }
  | { readonly kind: "barrierReply" }
  | { readonly kind: "bundleReply"; readonly bundle: number }
  | StatisticsReply
  | PortStatus
  | { readonly kind: "other"; readonly type: number };
