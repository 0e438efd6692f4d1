import type { LinkRemoval } from "./kernel/link-removal.ts";
import type { RouteSocket } from "./netlink/socket.ts";
import type { OvsdbClient } from "./ovsdb/client.ts";

/** The steps of a plug, each reported after it has taken effect. */
export const PLUG_STEPS = ["veth", "host", "ofport", "offload", "sysctl", "address", "probe", "up", "route"] as const;
export type PlugStep = (typeof PLUG_STEPS)[number];

/** Resources that the operations share: kept open in the agent, opened for one call in the executable. */
export interface DatapathContext {
  ovsdb: OvsdbClient;
  /** The host's rtnetlink socket, opened at the first call. */
  hostSocket(): Promise<RouteSocket>;
  removal: LinkRemoval;
  timeoutMs: number;
  /** Called after each step; if it throws, the step fails. Tests inject faults here. */
  onStep?: (step: PlugStep) => void | Promise<void>;
}
