import { accessSync } from "node:fs";
import type { IpamClient } from "../../ipam-server/client/client.ts";
import { REPORT_POLICY } from "../../ipam-server/client/retry-policy.ts";
import { mayHaveBeenCarriedOut } from "../../ipam-server/client/transport-error.ts";
import type { Claim, PortAttachment } from "../../ipam-server/contract/index.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import type { Datapath, Plugged } from "../datapath/attachment.ts";
import { AddressConflictError } from "../datapath/datapath-error.ts";
import type { Journal } from "../journal/journal.ts";
import { CNI_CODES, CniError, describeError } from "../spec/cni-error.ts";
import { appendResult, type CniResult, formatResult } from "../spec/result.ts";
import { deriveAttachment, deriveProbe, formatCidr, isSameBinding } from "./attachment.ts";
import type { ExpectedPort, VerbCall } from "./backend.ts";
import { deliverEarlier, disconnect, release } from "./teardown.ts";

/** How many addresses an ADD tries that other machines turn out to use. */
const MAX_ATTEMPTS = 3;

/** What the attempts of one ADD share. */
interface AddAttempt {
  call: VerbCall;
  claim: Claim;
  netns: string;
  ipam: IpamClient;
  journal: Journal;
  /** Opens the datapath once, and returns it again. */
  openDatapath(): Promise<Datapath>;
  /** The same, if it is open. */
  datapath(): Datapath | undefined;
}

/** Claims the port, plugs it and reports it. Leaves neither link nor binding when it fails. */
export async function add(call: VerbCall): Promise<string> {
  const { invocation, config, backend } = call;
  const claim = await backend.deriveClaim(call);
  const netns = assertNetnsExists(invocation.netns);
  await using held = new AsyncDisposableStack();
  const ipam = held.use(await backend.openIpam(config));
  const journal = await backend.openJournal(config);
  // Deliver first: this claim may need addresses that earlier calls could not release.
  await deliverEarlier(ipam, journal, call);

  let opened: Datapath | undefined;
  const openDatapath = async () => {
    opened ??= held.use(await backend.openDatapath(config));
    return opened;
  };
  const attempt: AddAttempt = { call, claim, netns, ipam, journal, openDatapath, datapath: () => opened };
  for (let left = MAX_ATTEMPTS - 1; ; left--) {
    const result = await tryAdd(attempt, left);
    if (result !== undefined) return result;
  }
}

/** Resolves with undefined if another machine uses the address that the claim got, and the next claim gets another. */
async function tryAdd(attempt: AddAttempt, left: number): Promise<string | undefined> {
  const { call, claim, netns, ipam, journal } = attempt;
  const { config, backend } = call;
  const expected = backend.reserveExpectedPort(claim);
  const plug = async (port: PortAttachment): Promise<Plugged> => {
    const datapath = await attempt.openDatapath();
    const attachment = deriveAttachment(port, call, netns);
    // The machine itself answers for a migration target's addresses, where it still runs.
    if (port.previousBindingReleased || port.inactive) return datapath.plug(attachment);
    return datapath.plug(attachment, () => backend.findProbe?.(port) ?? datapath.probe(deriveProbe(attachment)));
  };
  const openAndPlugExpected = async () => {
    await attempt.openDatapath();
    return expected && plug(expected.attachment);
  };
  // Load the datapath and plug the expected port while the IPAM answers.
  const [claimed, opened] = await Promise.allSettled([ipam.claim(claim), openAndPlugExpected()]);
  await using undo = new AsyncDisposableStack();
  if (claimed.status === "fulfilled" || expected !== undefined || mayHaveBeenCarriedOut(claimed.reason)) {
    undo.defer(() => rollBackAdd(call, attempt.datapath(), ipam, journal));
  }
  try {
    const granted = decideGranted(claimed, expected);
    if (opened.status === "rejected") throw opened.reason;
    backend.signal.throwIfAborted();

    const isAsExpected = expected !== undefined && isSameBinding(expected.attachment, granted);
    const plugged = opened.value !== undefined && isAsExpected ? opened.value : await plug(granted);
    backend.signal.throwIfAborted();
    undo.move();

    if (claimed.status === "rejected") expected?.confirmLater();
    if (!granted.inactive) await reportActive(call, ipam, journal, granted);
    const own = deriveResult(call, granted, plugged, netns);
    return formatResult(
      config.prevResult === undefined ? own : appendResult(config.prevResult, own),
      config.cniVersion,
    );
  } catch (error) {
    const { port } = claimed.status === "fulfilled" ? claimed.value : { port: expected?.attachment.port };
    const hasAddress = (address: string) => port?.fixedIps.some(ip => ip.address === address);
    if (!(error instanceof AddressConflictError && hasAddress(error.address))) throw error;
    undo.move();
    await endForConflict(attempt, error, left);
    return undefined;
  }
}

/** Releases the port and reports the conflict. Rejects unless the next claim gets another address. */
async function endForConflict(
  { call, ipam, journal, datapath }: AddAttempt,
  conflict: AddressConflictError,
  left: number,
) {
  const { invocation, backend } = call;
  const { address, mac, message } = conflict;
  const opened = datapath();
  if (opened !== undefined) await disconnect(opened, call);
  const sandbox = { id: invocation.containerId, interface: invocation.ifname };
  const ended = await release(ipam, journal, call, {
    ...backend.buildRelease(call, sandbox),
    conflict: { address, mac },
  });
  const fail = (what: string) => {
    throw new CniError(CNI_CODES.tryAgain, `${message}; ${what}`, { cause: conflict });
  };
  if (ended === undefined || "problem" in ended || !ended.released) fail("the IPAM has not yet recorded it");
  else if (!ended.deleted) fail(`port ${ended.name} keeps the address: remove that machine, or delete the port`);
  else if (left === 0) fail(`so were ${MAX_ATTEMPTS - 1} before: see mooringctl get conflicts`);
  backend.log(`${message}; claiming another address`);
}

/**
 * Returns the attachment to plug. While the IPAM is down a binding that this node holds for the same owner stays
 * valid, as it does for running pods.
 */
function decideGranted(
  claimed: PromiseSettledResult<PortAttachment>,
  expected: ExpectedPort | undefined,
): PortAttachment {
  if (claimed.status === "fulfilled") return claimed.value;
  const { reason } = claimed;
  const isAway = reason instanceof IpamError && (reason.code === "unavailable" || reason.code === "overloaded");
  if (isAway && expected?.isHeld()) return expected.attachment;
  throw reason;
}

function assertNetnsExists(netns: string | undefined): string {
  try {
    accessSync(netns ?? "");
    return netns ?? "";
  } catch (cause) {
    const message = `CNI_NETNS ${netns} does not exist: the runtime must create the network namespace first`;
    throw new CniError(CNI_CODES.invalidEnvironment, message, { cause });
  }
}

/**
 * Unplugs before it releases: after a repeated ADD the first one's pod is still connected. Only logs failures, because
 * the runtime must see the first error and calls DEL anyway.
 */
async function rollBackAdd(
  call: VerbCall,
  datapath: Datapath | undefined,
  ipam: IpamClient,
  journal: Journal,
): Promise<void> {
  const { invocation, backend } = call;
  try {
    if (datapath !== undefined) await disconnect(datapath, call);
    const sandbox = { id: invocation.containerId, interface: invocation.ifname };
    await release(ipam, journal, call, backend.buildRelease(call, sandbox));
  } catch (error) {
    backend.log(`rolling back ADD of ${invocation.containerId}/${invocation.ifname}: ${describeError(error)}`);
  }
}

/** Journals a report that cannot be delivered. Losing it costs a displayed state, not an address. */
async function reportActive(
  call: VerbCall,
  ipam: IpamClient,
  journal: Journal,
  { port }: PortAttachment,
): Promise<void> {
  const report = { name: port.name, epoch: port.epoch, plane: "underlay", state: "ACTIVE" } as const;
  if (call.backend.background) return call.backend.background.postReport(call.config, report, REPORT_POLICY);
  try {
    await ipam.report([report], REPORT_POLICY);
  } catch (error) {
    const journaled = journal.append({ kind: "report", report });
    const outcome = await journaled.then(() => "journaled", describeError);
    call.backend.log(
      `${port.name}: the report of the underlay did not reach the IPAM (${describeError(error)}): ${outcome}`,
    );
  }
}

function deriveResult(
  { invocation, config }: VerbCall,
  { port, dns }: PortAttachment,
  plugged: Plugged,
  netns: string,
): CniResult {
  return {
    interfaces: [
      { name: plugged.hostInterface, mac: plugged.hostMac, mtu: plugged.mtu },
      { name: invocation.ifname, mac: port.mac, mtu: plugged.mtu, sandbox: netns },
    ],
    ips: port.fixedIps.map(ip => ({
      address: formatCidr(ip),
      ...(ip.gateway !== undefined && { gateway: ip.gateway }),
      interface: 1,
    })),
    routes: plugged.routes.map(route => ({ ...route })),
    dns: config.dns ?? dns,
  };
}
