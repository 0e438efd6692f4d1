import type { Claim, PortAttachment, Release, Sandbox } from "../../ipam-server/contract/index.ts";
import { IpamError } from "../../ipam-server/contract/index.ts";
import type { Datapath } from "../datapath/attachment.ts";
import type { IpamClient } from "../ipam-client.ts";
import { TransportError } from "../ipam-transport.ts";
import type { Journal } from "../journal.ts";
import type { PendingRelease } from "../journal-entry.ts";
import { parseCniArgs } from "../spec/cni-args.ts";
import { describeError } from "../spec/cni-error.ts";
import type { NetworkConfig } from "../spec/config.ts";
import type { CallFacts, ExpectedPort, Home } from "../verbs/home.ts";
import type { AgentIpam } from "./agent-ipam.ts";
import { type ClaimMaker, isSameWish } from "./claim-maker.ts";
import type { AgentConfig } from "./config.ts";
import type { HeldPorts } from "./held-ports.ts";
import type { AgentMetrics } from "./metrics.ts";

/** What the agent's calls share. */
export interface AgentHomeOptions {
  config: AgentConfig;
  ipam: AgentIpam;
  datapath: Datapath;
  claims: ClaimMaker;
  held: HeldPorts;
  metrics: AgentMetrics;
  /** The journal of a network; the agent delivers them all. */
  journalOf(network: string): Journal;
  /** See `ExpectedPort.confirmLater`. */
  confirmLater(claim: Claim, expected: PortAttachment): void;
}

/** Of one call. */
export interface CallContext {
  command: string;
  log(line: string): void;
  signal: AbortSignal;
}

/**
 * The home of a call in the agent: lends what is open, and knows the pods. Whatever the network configuration says of an
 * IPAM, an OVSDB or a journal, the node's own hold: the configuration belongs to the caller.
 */
export function createAgentHome(options: AgentHomeOptions, call: CallContext): Home {
  const { config, claims, held, metrics } = options;
  return {
    log: call.log,
    signal: call.signal,
    now: () => new Date(),
    identify: () => ({ host: config.nodeName, cluster: config.cluster }),
    deriveClaim: facts => claims.deriveForCall(facts),
    expectPort: claim => expectPort(options, claim),
    describeRelease: (facts, sandbox) => describeRelease(held, facts, sandbox),
    openDatapath: async () => lendDatapath(options.datapath, metrics, call.command),
    openIpam: async network => lendIpam(options, call, network),
    openJournal: async ({ name }) => lendJournal(options.journalOf(name)),
  };
}

/**
 * A binding of the claim's owner on this node that no other sandbox uses, and that was claimed in the same way. From here
 * on it is the claim's sandbox that uses it.
 */
function expectPort({ held, metrics, confirmLater }: AgentHomeOptions, claim: Claim): ExpectedPort | undefined {
  const { owner, sandbox } = claim;
  if (sandbox === undefined) return undefined;
  const found = held.find(owner.uid, sandbox.interface);
  const isFree = found?.sandboxId === undefined || found.sandboxId === sandbox.id;
  const isSame = found?.claim !== undefined && isSameWish(found.claim, claim);
  if (found?.attachment === undefined || !isFree || !isSame) {
    metrics.claimsAhead.inc({ outcome: "miss" });
    return undefined;
  }
  const { attachment } = found;
  held.put(owner.uid, sandbox.interface, { ...found, sandboxId: sandbox.id });
  metrics.claimsAhead.inc({ outcome: "hit" });
  const isHeld = () => held.find(owner.uid, sandbox.interface)?.sandboxId === sandbox.id;
  return { attachment, isHeld, confirmLater: () => confirmLater(claim, attachment) };
}

/**
 * The sandbox's binding; by the port's name and its owner too where this node holds it for no other sandbox, because the
 * IPAM may not have heard of the sandbox yet.
 */
function describeRelease(held: HeldPorts, { invocation }: CallFacts, sandbox: Sandbox): PendingRelease {
  const ownerUid = findOwner(invocation);
  const found = held.find(ownerUid, sandbox.interface);
  if (found === undefined || (found.sandboxId !== undefined && found.sandboxId !== sandbox.id)) return { sandbox };
  return { name: found.port.name, sandbox, ownerUid };
}

/** A DEL ends well whatever else is wrong with its call. */
function findOwner({ args, containerId }: CallFacts["invocation"]): string {
  try {
    return parseCniArgs(args).podUid ?? containerId;
  } catch {
    return containerId;
  }
}

function lendDatapath(datapath: Datapath, metrics: AgentMetrics, command: string): Datapath {
  return {
    plug: attachment => metrics.time(command, "plug", datapath.plug(attachment)),
    unplug: (...args) => metrics.time(command, "unplug", datapath.unplug(...args)),
    check: attachment => datapath.check(attachment),
    list: bridge => datapath.list(bridge),
    ready: bridge => datapath.ready(bridge),
    async [Symbol.asyncDispose]() {},
  };
}

function lendIpam(
  options: AgentHomeOptions,
  { command, signal, log }: CallContext,
  network: NetworkConfig,
): IpamClient {
  const { ipam, claims, held, metrics } = options;
  return {
    async claim(claim) {
      try {
        await giveUpOther(options, claim);
        const attachment = await metrics.time(command, "claim", unlessEnded(ipam.claim(claim), signal));
        const { sandbox, owner } = claim;
        if (sandbox !== undefined) {
          const { port } = attachment;
          held.put(owner.uid, sandbox.interface, { port, attachment, claim, sandboxId: sandbox.id });
        }
        return attachment;
      } catch (error) {
        throw claims.explain(error, claim);
      }
    },
    async release(releases, patience) {
      // Before the IPAM answers: from here on nothing of the sandbox's may be expected.
      for (const each of releases) forget(held, each);
      return metrics.time(command, "release", ipam.release(releases, patience));
    },
    async report(reports, patience) {
      // The pod does not wait for what people and drivers are told.
      const told = metrics.time(command, "report", ipam.report(reports, patience));
      void told
        .catch(async error => {
          const journal = options.journalOf(network.name);
          for (const report of reports) await journal.append({ kind: "report", report });
          log(`the report of the underlay waits in the journal: ${describeError(error)}`);
        })
        .catch(error => log(`the report of the underlay is lost: ${describeError(error)}`));
      return reports.map(() => ({ applied: true as const }));
    },
    readPort: name => unlessEnded(ipam.readPort(name), signal),
    readNetwork: name => unlessEnded(ipam.readNetwork(name), signal),
    ready: () => unlessEnded(ipam.ready(), signal),
    async [Symbol.asyncDispose]() {},
  };
}

/** What was claimed ahead in another way (an annotation changed since) must not decide what the pod gets. */
async function giveUpOther({ held, ipam }: AgentHomeOptions, claim: Claim): Promise<void> {
  const { owner, sandbox } = claim;
  const found = sandbox && held.find(owner.uid, sandbox.interface);
  if (found?.claim === undefined || found.sandboxId !== undefined || isSameWish(found.claim, claim)) return;
  held.drop(owner.uid, sandbox?.interface ?? "eth0");
  await ipam.release([describeUnused(found.port.name, claim.host, owner.uid)]);
}

/** Names no sandbox that a runtime makes: ends the binding only while the IPAM knows no sandbox of it. */
const NO_SANDBOX: Sandbox = { id: "none", interface: "eth0" };

/** The release of a port that was claimed ahead: fenced against a sandbox that came after all. */
export function describeUnused(name: string, host: string, ownerUid: string): Release {
  return { name, host, ownerUid, sandbox: NO_SANDBOX };
}

function forget(held: HeldPorts, { sandbox, ownerUid }: Release): void {
  if (sandbox === undefined) return;
  held.dropSandbox(sandbox.id, sandbox.interface);
  if (ownerUid !== undefined) held.drop(ownerUid, sandbox.interface);
}

/** A batch goes on for the others when one call ends; whether its claim was carried out is then not known. */
async function unlessEnded<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const end = () => {
    const why = describeError(signal.reason);
    reject(new IpamError("unavailable", why, { cause: new TransportError(why, true, signal.reason) }));
  };
  if (signal.aborted) end();
  signal.addEventListener("abort", end, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", end);
    work.catch(() => {});
  }
}

/** The agent delivers by itself, so that no call waits for what earlier ones left. */
function lendJournal(journal: Journal): Journal {
  return { ...journal, isEmpty: () => true };
}
