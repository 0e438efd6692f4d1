import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { MooringEvent, Port } from "../../ipam-server/contract/index.ts";
import type { CniAnswer } from "./cni.ts";
import { type Ipam, startIpam } from "./ipam.ts";
import { assertThat, Narrator } from "./narrator.ts";
import type { LabNode } from "./node.ts";
import { DIST, NODE, ROOT } from "./paths.ts";
import { ping, startPinging } from "./ping.ts";
import { type PodSandbox, Runtime } from "./runtime.ts";
import type { Topology } from "./topology.ts";

const NETWORKS = fileURLToPath(new URL("networks.yaml", import.meta.url));
const POD = "web-0";
const PORT = `lab/default/${POD}`;

/** Runs the demo; rejects at the first check that fails. */
export async function runDemo(
  topology: Topology,
  options: { keep: boolean; print: (line: string) => void },
): Promise<void> {
  const { legacy } = topology;
  const a = topology.node(0);
  const b = topology.node(1);
  const narrator = new Narrator(options.print);

  narrator.step(
    "Two nodes with an Open vSwitch each, a VLAN trunk between them, a machine without Kubernetes, an IPAM",
  );
  const kind = a.ovs.datapathType === "system" ? "the kernel's datapath" : "the userspace datapath";
  narrator.note(`network namespaces ${topology.id}-*; Open vSwitch with ${kind}`);
  const ipam = await startIpam(topology);
  const runtime = new Runtime(topology, ipam);
  narrator.command(ipam.argv.map(shorten).slice(1).join(" ").replaceAll(topology.dir, "..."));

  narrator.step("A network is declared: VLAN 100, labelled env=prod");
  narrator.command(`mooringctl apply -f ${relative(ROOT, NETWORKS)}`);
  narrator.note(await ipam.mustCtl("apply", "-f", NETWORKS));

  narrator.step(`Node A's runtime plugs pod ${POD} through the CNI executable; it asks for a network by its label`);
  const first = await runtime.create(POD);
  const before = await add(runtime, a, first, narrator);

  narrator.step("The machine without Kubernetes reaches the pod at its own address: no NAT, no overlay, no tunnel");
  narrator.command(`ping ${before.address}`);
  assertThat(await ping(legacy, before.address), `${before.address} does not answer`);
  narrator.note("answered");

  narrator.step(
    "The pod drifts: unplugged on node A, plugged on node B as a new pod with a new UID and sandbox, pinged all along",
  );
  const second = await runtime.create(POD);
  await using pinging = startPinging(legacy, before.address);
  await pinging.firstAnswerAfter(Date.now());
  const began = Date.now();
  await del(runtime, a, first, narrator);
  const unplugged = Date.now();
  const after = await add(runtime, b, second, narrator);
  const answered = await pinging.firstAnswerAfter(unplugged);
  const neighbour = await legacy.must(["ip", "neighbour", "show", before.address]);
  assertThat(after.address === before.address, `the address changed from ${before.address} to ${after.address}`);
  assertThat(after.mac === before.mac, `the MAC changed from ${before.mac} to ${after.mac}`);
  assertThat(neighbour.includes(before.mac), `the machine outside sees another MAC: ${neighbour}`);
  narrator.note(`the same address and MAC answer, ${Math.round(answered - began)} ms after node A's DEL began`);

  narrator.step("Node A's DEL comes once more, late: it is fenced and changes nothing");
  await del(runtime, a, first, narrator);
  const { binding, epoch } = await readPort(ipam);
  assertThat(binding?.host === b.name, `the late DEL ended the binding: ${JSON.stringify(binding)}`);
  const late = Date.now();
  await pinging.firstAnswerAfter(late);
  narrator.note(`still bound to ${binding.host} (epoch ${epoch}), still answering`);

  narrator.step("Where was it when? The IPAM remembers, by name, address or MAC");
  narrator.command(`mooringctl trace ${PORT}`);
  narrator.note(await ipam.mustCtl("trace", PORT));
  await checkTrace(ipam);

  options.print(`\nAll checks passed.${options.keep ? "" : " Everything is removed again."}`);
  if (options.keep) {
    topology.keep();
    options.print(describeKept(topology, ipam, before.address));
  }
}

interface AddResult {
  address: string;
  mac: string;
}

async function add(runtime: Runtime, node: LabNode, sandbox: PodSandbox, narrator: Narrator): Promise<AddResult> {
  const answer = await runtime.add(node, sandbox);
  narrator.command(describeCall("ADD", node, sandbox));
  expectSuccess("ADD", answer);
  const address = answer.json?.ips?.[0]?.address.replace(/\/\d+$/, "");
  const mac = answer.json?.interfaces?.find(({ sandbox: path }) => path !== undefined)?.mac;
  assertThat(address !== undefined && mac !== undefined, `ADD gave no address or MAC: ${answer.stdout}`);
  const addresses = answer.json?.ips?.map(ip => ip.address).join(", ");
  narrator.note(`${addresses}, MAC ${mac}, ${Math.round(answer.elapsedMs)} ms`);
  return { address, mac };
}

async function del(runtime: Runtime, node: LabNode, sandbox: PodSandbox, narrator: Narrator): Promise<void> {
  const answer = await runtime.del(node, sandbox);
  narrator.command(describeCall("DEL", node, sandbox));
  expectSuccess("DEL", answer);
}

function expectSuccess(verb: string, { code, stdout, stderr }: CniAnswer): void {
  assertThat(code === 0, `${verb} failed with ${code}: ${stdout}${stderr}`);
}

async function readPort(ipam: Ipam): Promise<Port> {
  const { ports } = JSON.parse(await ipam.mustCtl("get", "ports", "-o", "json")) as { ports: Port[] };
  const port = ports.find(({ name }) => name === PORT);
  assertThat(port !== undefined, `the IPAM has no port ${PORT}`);
  return port;
}

async function checkTrace(ipam: Ipam): Promise<void> {
  const { events } = JSON.parse(await ipam.mustCtl("trace", PORT, "-o", "json")) as { events: MooringEvent[] };
  const hosts = events.filter(({ type }) => type === "port.bound" || type === "port.moved").map(({ host }) => host);
  assertThat(hosts.join(" ") === "node-a node-b", `the trace says it was bound on: ${hosts.join(", ")}`);
}

/** One line; the long ids are cut. */
function describeCall(verb: string, node: LabNode, { containerId, pod }: PodSandbox): string {
  const args = `K8S_POD_NAME=${pod.name};K8S_POD_UID=${pod.uid.slice(0, 4)}...`;
  return `CNI_COMMAND=${verb} CNI_CONTAINERID=${containerId.slice(0, 6)}... CNI_ARGS='${args}' mooring < ${node.name}.json`;
}

function describeKept(topology: Topology, ipam: Ipam, address: string): string {
  const inside = (place: { namespace: string }, rest: string) => `  ip netns exec ${place.namespace} ${rest}`;
  return [
    "\nIt is left running. Play with it:",
    inside(topology.legacy, `ping ${address}`),
    inside(topology.mgmt, `${shorten(NODE)} ${shorten(DIST)}mooringctl.js --server ${ipam.url} get ports`),
    ...topology.nodes.map(node => `  ovs-vsctl --db=${node.ovs.remote} show`),
    `Logs and the database are in ${topology.dir}. When done:`,
    "  scripts/demo --stop",
  ].join("\n");
}

function shorten(path: string): string {
  return path.replace(ROOT, "");
}
