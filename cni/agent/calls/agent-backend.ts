import type { Claim, PortAttachment, Release, Sandbox } from "../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import type { Datapath } from "../../datapath/attachment.ts";
import type { IpamClient } from "../../ipam-client.ts";
import { TransportError } from "../../ipam-transport.ts";
import type { PendingRelease } from "../../journal/entry.ts";
import type { Journal } from "../../journal/journal.ts";
import { parseCniArgs } from "../../spec/cni-args.ts";
import { describeError } from "../../spec/cni-error.ts";
import type { NetworkConfig } from "../../spec/config.ts";
import type { CallFacts, ExpectedPort, VerbBackend } from "../../verbs/backend.ts";
import { type ClaimBuilder, isSameRequest } from "../claims/claim-builder.ts";
import type { AgentConfig } from "../config.ts";
import type { AgentIpam } from "../ipam/agent-ipam.ts";
import type { Leases } from "../leases/leases.ts";
import type { UnreportedLeases } from "../leases/unreported-leases.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { HeldPorts } from "../ports/held-ports.ts";

/** What the agent's calls share. */
export interface AgentBackendOptions {
  config: AgentConfig;
  ipam: AgentIpam;
  datapath: Datapath;
  claims: ClaimBuilder;
  held: HeldPorts;
  leases: Pick<Leases, "take" | "observe">;
  takings: UnreportedLeases;
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
export function createAgentBackend(options: AgentBackendOptions, call: CallContext): VerbBackend {
  const { config, claims, held, metrics } = options;
  return {
    log: call.log,
    signal: call.signal,
    now: () => new Date(),
    identify: () => ({ host: config.nodeName, cluster: config.cluster }),
    deriveClaim: facts => claims.deriveForCall(facts),
    reserveExpectedPort: claim => reserveExpectedPort(options, claim),
    buildRelease: (facts, sandbox) => buildRelease(held, facts, sandbox),
    openDatapath: async () => wrapDatapath(options.datapath, metrics, call.command),
    openIpam: async network => wrapIpam(options, call, network),
    openJournal: async ({ name }) => wrapJournal(options.journalOf(name)),
  };
}

/**
 * A binding of the claim's owner on this node that no other sandbox uses, and that was claimed in the same way. From here
 * on it is the claim's sandbox that uses it.
 */
function reserveExpectedPort(options: AgentBackendOptions, claim: Claim): ExpectedPort | undefined {
  const { held, metrics, confirmLater } = options;
  const { owner, sandbox } = claim;
  if (sandbox === undefined) return undefined;
  takeLease(options, claim);
  const found = held.find(owner.uid, sandbox.interface);
  const isFree = found?.sandboxId === undefined || found.sandboxId === sandbox.id;
  const isSame = found?.claim !== undefined && isSameRequest(found.claim, claim);
  if (found?.attachment === undefined || !isFree || !isSame) {
    metrics.preclaims.inc({ outcome: "miss" });
    return undefined;
  }
  const { attachment } = found;
  held.put(owner.uid, sandbox.interface, { ...found, sandboxId: sandbox.id });
  metrics.preclaims.inc({ outcome: "hit" });
  const isHeld = () => held.find(owner.uid, sandbox.interface)?.sandboxId === sandbox.id;
  return { attachment, isHeld, confirmLater: () => confirmLater(claim, attachment) };
}

/** A pod that nothing is held for, as far as this node or the IPAM can know, gets a leased address if there is one. */
function takeLease({ held, leases, takings }: AgentBackendOptions, claim: Claim): void {
  const { name, owner, sandbox } = claim;
  if (name === undefined || sandbox === undefined || !held.isWhole) return;
  if (held.find(owner.uid, sandbox.interface) !== undefined || takings.find(sandbox) !== undefined) return;
  const taken = leases.take(claim);
  if (taken !== undefined) takings.begin({ ...claim, name, sandbox }, taken);
}

/**
 * The sandbox's binding; by the port's name and its owner too where this node holds it for no other sandbox, because the
 * IPAM may not have heard of the sandbox yet.
 */
function buildRelease(held: HeldPorts, { invocation }: CallFacts, sandbox: Sandbox): PendingRelease {
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

function wrapDatapath(datapath: Datapath, metrics: AgentMetrics, command: string): Datapath {
  return {
    plug: attachment => metrics.time(command, "plug", datapath.plug(attachment)),
    unplug: (...args) => metrics.time(command, "unplug", datapath.unplug(...args)),
    check: attachment => datapath.check(attachment),
    list: bridge => datapath.list(bridge),
    ready: bridge => datapath.ready(bridge),
    async [Symbol.asyncDispose]() {},
  };
}

function wrapIpam(
  options: AgentBackendOptions,
  { command, signal, log }: CallContext,
  network: NetworkConfig,
): IpamClient {
  const { ipam, claims, held, leases, takings, metrics } = options;
  return {
    async claim(claim) {
      const taking = takings.find(claim.sandbox);
      if (taking !== undefined) {
        // The sandbox has its address, and the IPAM hears of it in time.
        return metrics.time(command, "claim", takings.record(taking, options.journalOf(network.name)));
      }
      try {
        await releaseStalePreclaim(options, claim);
        const attachment = await metrics.time(command, "claim", unlessEnded(ipam.claim(claim), signal));
        leases.observe(claim, attachment);
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
      const told = releases.map(each => takings.releaseBehind(each, patience) ?? ipam.release([each], patience));
      return (await metrics.time(command, "release", Promise.all(told))).flat();
    },
    async report(reports, patience) {
      // The pod does not wait for what people and drivers are told.
      const now = reports.filter(report => !takings.reportLater(report));
      if (now.length === 0) return reports.map(() => ({ applied: true as const }));
      const told = metrics.time(command, "report", ipam.report(now, patience));
      void told
        .catch(async error => {
          const journal = options.journalOf(network.name);
          for (const report of now) await journal.append({ kind: "report", report });
          log(`the report of the underlay waits in the journal: ${describeError(error)}`);
        })
        .catch(error => log(`the report of the underlay is lost: ${describeError(error)}`));
      return reports.map(() => ({ applied: true as const }));
    },
    readPort: async name => takings.findPort(name)?.expected.port ?? unlessEnded(ipam.readPort(name), signal),
    readNetwork: name => unlessEnded(ipam.readNetwork(name), signal),
    ready: () => unlessEnded(ipam.ready(), signal),
    async [Symbol.asyncDispose]() {},
  };
}

/** What was claimed ahead in another way (an annotation changed since) must not decide what the pod gets. */
async function releaseStalePreclaim({ held, ipam }: AgentBackendOptions, claim: Claim): Promise<void> {
  const { owner, sandbox } = claim;
  const found = sandbox && held.find(owner.uid, sandbox.interface);
  if (found?.claim === undefined || found.sandboxId !== undefined || isSameRequest(found.claim, claim)) return;
  held.drop(owner.uid, sandbox?.interface ?? DEFAULT_INTERFACE);
  await ipam.release([buildUnusedRelease(found.port.name, claim.host, owner.uid)]);
}

/** Names no sandbox that a runtime makes: ends the binding only while the IPAM knows no sandbox of it. */
const NO_SANDBOX: Sandbox = { id: "none", interface: DEFAULT_INTERFACE };

/** The release of a port that was claimed ahead: fenced against a sandbox that came after all. */
export function buildUnusedRelease(name: string, host: string, ownerUid: string): Release {
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
function wrapJournal(journal: Journal): Journal {
  return { ...journal, isEmpty: () => true };
}
