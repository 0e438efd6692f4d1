import type { LinkRemoval } from "./kernel/link-removal.ts";
import type { RouteSocket } from "./netlink/socket.ts";
import type { OvsdbClient } from "./ovsdb/client.ts";

/** The steps of a plug in the order in which they begin; each has taken effect when it is reported. */
export const PLUG_STEPS = ["veth", "host", "ofport", "offload", "sysctl", "address", "up", "route", "dad"] as const;
export type PlugStep = (typeof PLUG_STEPS)[number];

/** What the datapath's verbs share: warm in an agent, opened for one call in the executable. */
export interface DatapathContext {
  ovsdb: OvsdbClient;
  /** The rtnetlink socket of the host's own namespace, opened at the first call. */
  hostSocket(): Promise<RouteSocket>;
  removal: LinkRemoval;
  timeoutMs: number;
  /** Called after each step of a plug has taken effect. What it throws fails that step: tests inject faults with it. */
  onStep?: (step: PlugStep) => void | Promise<void>;
}
