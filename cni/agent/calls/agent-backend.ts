import type { Datapath } from "../../datapath/attachment.ts";
import type { IntegrationBridge } from "../../datapath/bridges/integration-bridges.ts";
import type { Journal } from "../../journal/journal.ts";
import { CNI_CODES, CniError } from "../../spec/cni-error.ts";
import type { VerbBackend } from "../../verbs/backend.ts";
import type { AddressProbes } from "../claims/address-probes.ts";
import type { ClaimBuilder } from "../claims/claim-builder.ts";
import type { AgentConfig } from "../config.ts";
import { createJournaledIpam, type JournaledIpamOptions, postReport } from "../ipam/journaled-ipam.ts";
import { assignLease, type ExpectedPortOptions, reserveHeldPort } from "../ports/expected-port.ts";
import { buildRelease } from "./build-release.ts";
import { measureDatapath } from "./measured-datapath.ts";

/** What all calls of the agent share. */
export interface AgentBackendOptions extends JournaledIpamOptions, ExpectedPortOptions {
  config: AgentConfig;
  bridges: readonly IntegrationBridge[];
  datapath: Datapath;
  claims: ClaimBuilder;
  probes: Pick<AddressProbes, "find">;
  leases: JournaledIpamOptions["leases"] & ExpectedPortOptions["leases"];
  metrics: JournaledIpamOptions["metrics"];
  /** Returns the journal of a network. The agent delivers all of them in the background. */
  journalOf(network: string): Journal;
}

/** What one call has of its own. */
export interface CallContext {
  command: string;
  log(line: string): void;
  signal: AbortSignal;
}

/**
 * The backend of a call in the agent: it shares the agent's open handles. Ignores the IPAM, OVSDB and journal of the network
 * configuration in favour of the agent's own, because the configuration belongs to the caller.
 */
export function createAgentBackend(options: AgentBackendOptions, call: CallContext): VerbBackend {
  const { config, claims, held, metrics } = options;
  const { command, signal, log } = call;
  return {
    log,
    signal,
    now: () => new Date(),
    findBridges({ bridge = config.bridge }) {
      if (bridge === config.bridge) return options.bridges;
      const message = `network configuration: "bridge" is ${bridge}, but this node's agent has ${config.bridge}: remove the key`;
      throw new CniError(CNI_CODES.invalidConfig, message);
    },
    identify: () => ({ host: config.nodeName, cluster: config.cluster }),
    deriveClaim: facts => claims.deriveForCall(facts),
    reserveExpectedPort(claim) {
      assignLease(options, claim);
      return reserveHeldPort(options, claim);
    },
    findProbe: attachment => options.probes.find(attachment),
    buildRelease: (facts, sandbox) => buildRelease(held, facts, sandbox),
    openDatapath: async () => measureDatapath(options.datapath, metrics, command),
    openIpam: async ({ name }) => createJournaledIpam(options, { command, signal, journal: options.journalOf(name) }),
    openJournal: async ({ name }) => options.journalOf(name),
    background: {
      postReport: ({ name }, report, timeouts) =>
        postReport(options, { command, log, journal: options.journalOf(name) }, report, timeouts),
    },
  };
}
