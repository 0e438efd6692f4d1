import type { IpamClient } from "../../ipam-server/client/client.ts";
import type { Port } from "../../ipam-server/contract/index.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import type { Datapath, Difference } from "../datapath/attachment.ts";
import { EXTERNAL_IDS } from "../external-ids.ts";
import { CNI_CODES, CniError } from "../spec/cni-error.ts";
import type { CniResult } from "../spec/result.ts";
import { deriveAttachment, formatCidr } from "./attachment.ts";
import type { VerbCall } from "./backend.ts";

/** Compares ADD's result, the IPAM's port and the datapath. Rejects with every difference. */
export async function check(call: VerbCall): Promise<string> {
  const { invocation, config, backend } = call;
  const { prevResult } = config;
  if (prevResult === undefined) {
    const message = 'network configuration: "prevResult" is missing: CHECK compares with what ADD answered';
    throw new CniError(CNI_CODES.invalidConfig, message);
  }
  const claim = await backend.deriveClaim(call);
  await using held = new AsyncDisposableStack();
  const datapath = held.use(await backend.openDatapath(config));
  const ipam = held.use(await backend.openIpam(config));

  const port = await readPort(ipam, claim.name ?? (await findName(datapath, call)));
  const network = await ipam.readNetwork(port.network);
  const ourSubnets = new Set(port.fixedIps.map(ip => ip.subnet));
  const routes = network.subnets.filter(subnet => ourSubnets.has(subnet.cidr)).flatMap(subnet => subnet.routes);
  const plan = { port, segment: network.segment, mtu: network.mtu, routes, previousBindingReleased: true };
  const attachment = deriveAttachment(plan, call, invocation.netns ?? "");
  const differences = [
    ...compareBinding(port, claim.host, invocation.containerId, invocation.ifname),
    ...compareResult(prevResult, port, invocation.ifname, attachment.netns),
    ...(await datapath.check(attachment)),
  ];
  if (differences.length === 0) return "";
  const lines = differences.map(({ what, expected, found }) => `${what} should be ${expected}, is ${found}`);
  throw new CniError(CNI_CODES.different, `${port.name}: ${lines.join("; ")}`);
}

/** Finds the name of a slot, which the IPAM chose, in the plugged port's external_ids. */
async function findName(datapath: Datapath, { invocation }: VerbCall): Promise<string> {
  const { containerId, ifname } = invocation;
  const ports = await datapath.list();
  const mine = ports.find(
    ({ sandboxId, containerInterface }) => sandboxId === containerId && containerInterface === ifname,
  );
  const name = mine?.externalIds[EXTERNAL_IDS.port];
  if (name !== undefined) return name;
  throw new CniError(CNI_CODES.different, `nothing is plugged into ${containerId}/${ifname}: delete the pod`);
}

async function readPort(ipam: IpamClient, name: string): Promise<Port> {
  try {
    return await ipam.readPort(name);
  } catch (error) {
    if (!(error instanceof IpamError && error.code === "not_found")) throw error;
    throw new CniError(CNI_CODES.different, `the IPAM has no port ${name}: delete the pod to have it created again`, {
      cause: error,
    });
  }
}

function compareBinding({ binding }: Port, host: string, id: string, ifname: string): Difference[] {
  const expected = `${id}/${ifname} on ${host}`;
  const { sandbox } = binding ?? {};
  const found =
    binding === undefined
      ? "none"
      : `${sandbox?.id ?? binding.ownerUid}/${sandbox?.interface ?? "?"} on ${binding.host}`;
  return found === expected ? [] : [{ what: "the port's binding", expected, found }];
}

/** Accepts additions by later plugins; our interface and addresses must be present and be the port's. */
function compareResult(previous: CniResult, port: Port, ifname: string, netns: string): Difference[] {
  const own = previous.interfaces.findIndex(({ name, sandbox }) => name === ifname && sandbox === netns);
  const inside = previous.interfaces[own];
  if (inside === undefined) {
    return [{ what: "prevResult.interfaces", expected: `${ifname} in ${netns}`, found: "no such interface" }];
  }
  const differences: Difference[] = [];
  if (inside.mac !== undefined && inside.mac.toLowerCase() !== port.mac) {
    differences.push({ what: `the MAC of ${ifname}`, expected: port.mac, found: inside.mac });
  }
  const held = port.fixedIps.map(formatCidr).sort();
  const answered = previous.ips.filter(ip => ip.interface === own).map(ip => ip.address);
  if (held.some(address => !answered.includes(address))) {
    const found = answered.sort().join(", ") || "none";
    differences.push({ what: `the addresses of ${ifname}`, expected: held.join(", "), found });
  }
  return differences;
}
