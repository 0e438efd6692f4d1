import { accessSync } from "node:fs";
import type { IpamClient } from "../../ipam-server/client/client.ts";
import { REPORT_POLICY } from "../../ipam-server/client/retry-policy.ts";
import { mayHaveBeenCarriedOut } from "../../ipam-server/client/transport-error.ts";
import type { PortAttachment } from "../../ipam-server/contract/index.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import type { Datapath, Plugged } from "../datapath/attachment.ts";
import type { Journal } from "../journal/journal.ts";
import { CNI_CODES, CniError, describeError } from "../spec/cni-error.ts";
import { appendResult, type CniResult, formatResult } from "../spec/result.ts";
import { deriveAttachment, formatCidr, isSameBinding } from "./attachment.ts";
import type { ExpectedPort, VerbCall } from "./backend.ts";
import { deliverEarlier, disconnect, release } from "./teardown.ts";

/** A plane report is for people and drivers; a pod does not wait longer for it. */

/** Claims the port, plugs it, reports it. A failure leaves neither link nor binding behind. */
export async function add(call: VerbCall): Promise<string> {
  const { invocation, config, backend } = call;
  const claim = await backend.deriveClaim(call);
  const netns = requireNamespace(invocation.netns);
  await using held = new AsyncDisposableStack();
  const ipam = held.use(await backend.openIpam(config));
  const journal = await backend.openJournal(config);
  // Addresses that earlier calls could not give back may be the ones this claim needs.
  await deliverEarlier(ipam, journal, call);

  const expected = backend.reserveExpectedPort(claim);
  let datapath: Datapath | undefined;
  const openAndPlugExpected = async () => {
    datapath = held.use(await backend.openDatapath(config));
    const early = expected && (await datapath.plug(deriveAttachment(expected.attachment, config, invocation, netns)));
    return { datapath, early };
  };
  // The datapath's modules load, and what is expected is plugged, while the IPAM thinks.
  const [claimed, opened] = await Promise.allSettled([ipam.claim(claim), openAndPlugExpected()]);
  await using undo = new AsyncDisposableStack();
  if (claimed.status === "fulfilled" || expected !== undefined || mayHaveBeenCarriedOut(claimed.reason)) {
    undo.defer(() => rollBackAdd(call, datapath, ipam, journal));
  }
  const granted = decideGranted(claimed, expected);
  if (opened.status === "rejected") throw opened.reason;
  backend.signal.throwIfAborted();

  const attachment = deriveAttachment(granted, config, invocation, netns);
  const { early } = opened.value;
  const isAsExpected = expected !== undefined && isSameBinding(expected.attachment, granted);
  const plugged = early !== undefined && isAsExpected ? early : await opened.value.datapath.plug(attachment);
  backend.signal.throwIfAborted();
  undo.move();

  if (claimed.status === "rejected") expected?.confirmLater();
  await reportActive(call, ipam, journal, granted);
  const own = deriveResult(call, granted, plugged, netns, attachment.mtu);
  return formatResult(config.prevResult === undefined ? own : appendResult(config.prevResult, own), config.cniVersion);
}

/**
 * What may be plugged. With the IPAM away a binding that this node holds for this very owner stands: nobody can have moved
 * it meanwhile but by an IPAM that this node does not hear, and then it is as any pod that runs here.
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

function requireNamespace(netns: string | undefined): string {
  try {
    accessSync(netns ?? "");
    return netns ?? "";
  } catch (cause) {
    const message = `CNI_NETNS ${netns} is not there: the runtime must make the network namespace first`;
    throw new CniError(CNI_CODES.invalidEnvironment, message, { cause });
  }
}

/**
 * Undoes an ADD. What is plugged goes first, even though `plug` undoes its own steps: when ADD was repeated the pod of the
 * first one is still there, and its address must be silent before it is given back. Nothing here may hide the failure
 * that made it necessary, so that what cannot be undone is only told: the runtime's DEL comes anyway.
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
    backend.log(`undoing ADD of ${invocation.containerId}/${invocation.ifname}: ${describeError(error)}`);
  }
}

/** A report that cannot be delivered goes to the journal; losing even that costs a state shown to people, not an address. */
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
  { port, routes, dns }: PortAttachment,
  plugged: Plugged,
  netns: string,
  mtu: number,
): CniResult {
  return {
    interfaces: [
      { name: plugged.hostInterface, mac: plugged.hostMac, mtu },
      { name: invocation.ifname, mac: port.mac, mtu, sandbox: netns },
    ],
    ips: port.fixedIps.map(ip => ({
      address: formatCidr(ip),
      ...(ip.gateway !== undefined && { gateway: ip.gateway }),
      interface: 1,
    })),
    routes: routes.map(({ dst, gw }) => ({ dst, ...(gw !== undefined && { gw }) })),
    dns: config.dns ?? dns,
  };
}
