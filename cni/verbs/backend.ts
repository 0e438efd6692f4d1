import type { IpamClient } from "../../ipam-server/client/client.ts";
import type { RetryPolicy } from "../../ipam-server/client/retry-policy.ts";
import type { Claim, PortAttachment, Report, Sandbox } from "../../ipam-server/contract/index.ts";
import type { Datapath } from "../datapath/attachment.ts";
import type { IntegrationBridge } from "../datapath/bridges/integration-bridges.ts";
import type { ProbeConflict } from "../datapath/probe/probe.ts";
import type { PendingRelease } from "../journal/entry.ts";
import type { Journal } from "../journal/journal.ts";
import type { NetworkConfig } from "../spec/config.ts";
import type { Invocation } from "../spec/environment.ts";

/**
 * What a verb needs from its process. The executable opens each resource for one call; the agent lends its open ones,
 * whose disposal then does nothing.
 */
export interface VerbBackend {
  openDatapath(config: NetworkConfig): Promise<Datapath>;
  openIpam(config: NetworkConfig): Promise<IpamClient>;
  openJournal(config: NetworkConfig): Promise<Journal>;
  /** This node's name and cluster; undefined if only an agent has them and it is down. */
  identify(config: NetworkConfig): { host: string; cluster: string } | undefined;
  /** Returns this node's integration bridges. Throws CniError if the configuration names another. */
  findBridges(config: NetworkConfig): readonly IntegrationBridge[];
  /** Derives the claim of an ADD. */
  deriveClaim(call: CallFacts): Promise<Claim>;
  /**
   * Reserves the port that the IPAM most likely grants, because this node holds it or a leased address: it is the
   * sandbox's from here on. Returns undefined if there is none.
   */
  reserveExpectedPort(claim: Claim): ExpectedPort | undefined;
  /** Returns a probe of the port's addresses that was begun before the call. */
  findProbe?(attachment: PortAttachment): Promise<ProbeConflict | undefined> | undefined;
  /** Builds the release of the sandbox's binding. */
  buildRelease(call: CallFacts, sandbox: Sandbox): PendingRelease;
  /** Present if a process outlives the call: it delivers the journals, and a verb need not wait for reports. */
  background?: BackgroundDelivery;
  now(): Date;
  /** Writes one line of diagnostics to stderr or the agent's log. */
  log(line: string): void;
  /** Aborts when the runtime ends the call. */
  signal: AbortSignal;
}

interface BackgroundDelivery {
  /** Sends the report without waiting for an answer. A report that fails is journaled, and logged if that fails too. */
  postReport(config: NetworkConfig, report: Report, timeouts: RetryPolicy): void;
}

export interface ExpectedPort {
  attachment: PortAttachment;
  /** False once the IPAM reported the end of the binding. */
  isHeld(): boolean;
  /**
   * Call it when the port was plugged without the IPAM: confirms the claim later, and unplugs if the IPAM rejects it.
   */
  confirmLater(): void;
}

/** A call's parsed input. */
export interface CallFacts {
  invocation: Invocation;
  config: NetworkConfig;
}

/** A verb's input. A verb resolves with what goes to stdout. */
export interface VerbCall extends CallFacts {
  backend: VerbBackend;
}

export type Verb = (call: VerbCall) => Promise<string>;
