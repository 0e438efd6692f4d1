import type { Binding, Port } from "../../ipam-server/contract/index.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import type { Difference, ExpectedAttachment, PluggedPort } from "../datapath/attachment.ts";
import { findIntegrationBridge } from "../datapath/bridges/integration-bridges.ts";
import { EXTERNAL_IDS, parseExternalIds } from "../external-ids.ts";
import { CNI_CODES, CniError } from "../spec/cni-error.ts";
import type { CniResult } from "../spec/result.ts";
import type { VerbCall } from "./backend.ts";

/**
 * Compares what is there with ADD's result and with the port's external_ids, which later edits of the network, the
 * configuration or the pod do not change (CNI spec, section 4, CHECK). Rejects with every difference.
 */
export async function check(call: VerbCall): Promise<string> {
  const { invocation, config, backend } = call;
  const { containerId, ifname } = invocation;
  const { prevResult } = config;
  if (prevResult === undefined) {
    const message = 'network configuration: "prevResult" is missing: CHECK compares with what ADD answered';
    throw new CniError(CNI_CODES.invalidConfig, message);
  }
  await using held = new AsyncDisposableStack();
  const datapath = held.use(await backend.openDatapath(config));
  const plugged = (await datapath.list()).find(
    ({ sandboxId, containerInterface }) => sandboxId === containerId && containerInterface === ifname,
  );
  const { isSilent, differences: ofPort } = plugged ? await comparePort(call, plugged) : NO_PORT;
  const expected = { ...deriveExpected(call, prevResult, plugged), ...(isSilent && { isSilent }) };
  const differences = [...ofPort, ...compareResult(call, prevResult, plugged), ...(await datapath.check(expected))];
  if (differences.length === 0) return "";
  const lines = differences.map(({ what, expected, found }) => `${what} should be ${expected}, is ${found}`);
  const name = plugged?.externalIds[EXTERNAL_IDS.port] ?? `${containerId}/${ifname}`;
  throw new CniError(CNI_CODES.different, `${name}: ${lines.join("; ")}`);
}

interface PortComparison {
  /** The port is plugged without traffic, as it should be. */
  isSilent: boolean;
  differences: Difference[];
}

const NO_PORT: PortComparison = { isSilent: false, differences: [] };

/**
 * Compares the port's binding: an INACTIVE one, of a migration's target, expects a silent port. An IPAM that does not answer
 * decides nothing, and a port is silent if it was never connected.
 */
async function comparePort(call: VerbCall, plugged: PluggedPort): Promise<PortComparison> {
  const { externalIds, isFenced, isSilent = false } = plugged;
  const { portName: name, ownerUid } = parseExternalIds(externalIds);
  const toComparison = (isSilent: boolean, ...differences: Difference[]) => {
    const fence = isFenced && !isSilent ? [{ what: "the port", expected: "connected", found: "fenced" }] : [];
    return { isSilent, differences: [...fence, ...differences] };
  };
  if (name === undefined) {
    const what = `external_ids:${EXTERNAL_IDS.port}`;
    return toComparison(isSilent, { what, expected: "the port's name", found: "nothing" });
  }
  const host = call.backend.identify(call.config)?.host;
  const port = host === undefined ? undefined : await readPort(call, name);
  if (port === undefined) return toComparison(isSilent);

  const { containerId, ifname } = call.invocation;
  // One without a sandbox was not confirmed yet.
  const isOurs = (binding: Binding | undefined) =>
    binding !== undefined &&
    binding.host === host &&
    (binding.sandbox === undefined
      ? binding.ownerUid === ownerUid
      : binding.sandbox.id === containerId && binding.sandbox.interface === ifname);
  if (isOurs(port.binding)) return toComparison(false);
  if (isOurs(port.inactiveBinding)) return toComparison(true);
  const expected = `${containerId}/${ifname} on ${host}`;
  return toComparison(isSilent, { what: "the port's binding", expected, found: formatBinding(port.binding) });
}

function formatBinding(binding: Binding | undefined): string {
  if (binding === undefined) return "none";
  const { sandbox, ownerUid, host } = binding;
  return `${sandbox ? `${sandbox.id}/${sandbox.interface}` : `pod ${ownerUid}`} on ${host}`;
}

async function readPort({ backend, config }: VerbCall, name: string): Promise<Port | undefined> {
  await using ipam = await backend.openIpam(config);
  try {
    return await ipam.readPort(name);
  } catch (error) {
    if (!(error instanceof IpamError)) throw error;
    if (error.code !== "not_found") {
      backend.log(`the binding of ${name} was not compared: ${error.message}`);
      return undefined;
    }
    const message = `the IPAM has no port ${name}: delete the pod to have it created again`;
    throw new CniError(CNI_CODES.different, message, { cause: error });
  }
}

/** Accepts additions by later plugins; our interface and its addresses must be listed. */
function compareResult(
  { invocation: { ifname, netns = "" } }: VerbCall,
  previous: CniResult,
  plugged: PluggedPort | undefined,
): Difference[] {
  const { index } = findOwn(previous, ifname, netns);
  if (index < 0) {
    return [{ what: "prevResult.interfaces", expected: `${ifname} in ${netns}`, found: "no such interface" }];
  }
  const { addresses } = parseExternalIds(plugged?.externalIds ?? {});
  const listed = previous.ips.filter(ip => ip.interface === index).map(ip => ip.address);
  if (addresses.every(address => listed.some(cidr => cidr.startsWith(`${address}/`)))) return [];
  const found = listed.sort().join(", ") || "none";
  return [{ what: `the addresses of ${ifname}`, expected: addresses.toSorted().join(", "), found }];
}

/** The MTU in the pod is not compared, because `tuning` changes it; it changes the MAC in the result too. */
function deriveExpected(
  { invocation, config, backend }: VerbCall,
  previous: CniResult,
  plugged: PluggedPort | undefined,
): ExpectedAttachment {
  const { containerId, ifname, netns = "" } = invocation;
  const ids = parseExternalIds(plugged?.externalIds ?? {});
  const bridges = backend.findBridges(config);
  const bridge = findIntegrationBridge(bridges, ids.physicalNetwork ?? "") ?? plugged?.bridge ?? bridges[0]?.name;
  const { index, mac = ids.mac } = findOwn(previous, ifname, netns);
  const own = (address: string) => ids.addresses.length === 0 || ids.addresses.includes(address);
  const hostMtu = previous.interfaces.find(({ name, sandbox }) => !sandbox && name === plugged?.hostInterface)?.mtu;
  return {
    netns,
    sandboxId: containerId,
    containerInterface: ifname,
    bridge: bridge ?? "",
    ...(plugged?.vlan !== undefined && { vlan: plugged.vlan }),
    ...(mac !== undefined && { mac }),
    ...(hostMtu !== undefined && { hostMtu }),
    addresses: previous.ips
      .filter(ip => ip.interface === index)
      .map(({ address, gateway }) => ({ ...parseCidr(address), ...(gateway !== undefined && { gateway }) }))
      .filter(({ address }) => own(address)),
    routes: previous.routes.map(({ dst, gw }) => ({ dst, ...(gw !== undefined && { gw }) })),
  };
}

/** Our interface in the result; `index` is -1 if it is missing. */
function findOwn({ interfaces }: CniResult, ifname: string, netns: string): { index: number; mac?: string } {
  const index = interfaces.findIndex(({ name, sandbox }) => name === ifname && sandbox === netns);
  return { ...interfaces[index], index };
}

function parseCidr(cidr: string): { address: string; prefixLength: number } {
  const [address = "", length] = cidr.split("/");
  return { address, prefixLength: Number(length) };
}
