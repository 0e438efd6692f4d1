import type { IpamError, MooringEvent, Port } from "../../ipam-server/contract/index.ts";
import type { IpamClient } from "../ipam-client.ts";

/** The IPAM as the agent asks it: what arrives together shares a request; lists and events besides. */
export interface AgentIpam extends IpamClient {
  /** All ports that this host is bound to, all pages or a rejection: never a part. */
  readPortsOfHost(host: string, signal?: AbortSignal): Promise<Port[]>;
  /** The newest event's number. */
  readLastSeq(): Promise<number>;
  /**
   * Calls back for each event after `after`, all hosts', resuming where the stream broke, until the signal aborts. `onError`
   * hears of each break; `conflict` says that the database is another one: compare everything and start anew.
   */
  followEvents(
    after: number,
    onEvent: (event: MooringEvent) => void,
    onError: (error: IpamError) => void,
    signal: AbortSignal,
  ): Promise<void>;
  /** Whether the last exchange ended with an answer. */
  readonly isReachable: boolean;
}
