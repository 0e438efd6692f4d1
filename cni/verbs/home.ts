import type { Datapath } from "../datapath/attachment.ts";
import type { IpamClient } from "../ipam-client.ts";
import type { Journal } from "../journal.ts";
import type { NetworkConfig } from "../spec/config.ts";
import type { Invocation } from "../spec/environment.ts";

/**
 * Where the verbs run: in the executable, which opens everything for one call, or in the agent, which lends what it
 * holds open (its handles' disposal then does nothing).
 */
export interface Home {
  openDatapath(config: NetworkConfig): Promise<Datapath>;
  openIpam(config: NetworkConfig): Promise<IpamClient>;
  openJournal(config: NetworkConfig): Promise<Journal>;
  /** This node's name and cluster; undefined where only an absent agent knows them. */
  identify(config: NetworkConfig): { host: string; cluster: string } | undefined;
  now(): Date;
  /** One line of diagnostics for people; never protocol. */
  log(line: string): void;
  /** Aborted when the runtime wants the call to end. */
  signal: AbortSignal;
}

/** All a verb is given. Its answer is what goes to stdout on success. */
export interface VerbCall {
  invocation: Invocation;
  config: NetworkConfig;
  home: Home;
}

export type Verb = (call: VerbCall) => Promise<string>;
