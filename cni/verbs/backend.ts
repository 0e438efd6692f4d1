import type { IpamClient } from "../../ipam-server/client/client.ts";
import type { RetryPolicy } from "../../ipam-server/client/retry-policy.ts";
import type { Claim, PortAttachment, Report, Sandbox } from "../../ipam-server/contract/index.ts";
import type { Datapath } from "../datapath/attachment.ts";
import type { PendingRelease } from "../journal/entry.ts";
import type { Journal } from "../journal/journal.ts";
import type { NetworkConfig } from "../spec/config.ts";
import type { Invocation } from "../spec/environment.ts";

/**
 * Where the verbs run: in the executable, which opens everything for one call, or in the agent, which lends what it
 * holds open (its handles' disposal then does nothing).
 */
export interface VerbBackend {
  openDatapath(config: NetworkConfig): Promise<Datapath>;
  openIpam(config: NetworkConfig): Promise<IpamClient>;
  openJournal(config: NetworkConfig): Promise<Journal>;
  /** This node's name and cluster; undefined where only an absent agent knows them. */
  identify(config: NetworkConfig): { host: string; cluster: string } | undefined;
  /** The claim an ADD makes, from all that is known of the pod here; CHECK finds the port's name in it. */
  deriveClaim(call: CallFacts): Promise<Claim>;
  /**
   * Reserves the port that the IPAM most likely grants, because this node holds it or a leased address: it is the
   * sandbox's from here on. Returns undefined if there is none.
   */
  reserveExpectedPort(claim: Claim): ExpectedPort | undefined;
  /** Whose binding ends with this sandbox. */
  buildRelease(call: CallFacts, sandbox: Sandbox): PendingRelease;
  /** Present if a process outlives the call: it delivers the journals, and a verb need not wait for reports. */
  background?: BackgroundDelivery;
  now(): Date;
  /** One line of diagnostics for people; never protocol. */
  log(line: string): void;
  /** Aborted when the runtime wants the call to end. */
  signal: AbortSignal;
}

export interface BackgroundDelivery {
  /** Sends the report without waiting for an answer. A report that fails is journaled, and logged if that fails too. */
  postReport(config: NetworkConfig, report: Report, timeouts: RetryPolicy): void;
}

export interface ExpectedPort {
  attachment: PortAttachment;
  /** False once the IPAM has said that the binding is over. */
  isHeld(): boolean;
  /** The IPAM is away and the port was plugged as expected: tells it as soon as it is back, and unplugs if it disagrees. */
  confirmLater(): void;
}

/** What a runtime asks. */
export interface CallFacts {
  invocation: Invocation;
  config: NetworkConfig;
}

/** All a verb is given. Its answer is what goes to stdout on success. */
export interface VerbCall extends CallFacts {
  backend: VerbBackend;
}

export type Verb = (call: VerbCall) => Promise<string>;
