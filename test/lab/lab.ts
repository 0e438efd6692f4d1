import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Port } from "../../ipam-server/contract/index.ts";
import type { CniAnswer, CniJson } from "../../scripts/lab/cni.ts";
import { type Ipam, startIpam } from "../../scripts/lab/ipam.ts";
import type { LabNode } from "../../scripts/lab/node.ts";
import { type PodSandbox, Runtime } from "../../scripts/lab/runtime.ts";
import { openTopology, type Topology } from "../../scripts/lab/topology.ts";

const NETWORKS = fileURLToPath(new URL("networks.yaml", import.meta.url));

/** A topology, an IPAM with the test networks, and a runtime played by the test. */
export interface Lab extends AsyncDisposable {
  readonly topology: Topology;
  readonly ipam: Ipam;
  readonly runtime: Runtime;
  readonly a: LabNode;
  readonly b: LabNode;
  /** Makes a sandbox and plugs it; fails the test when the ADD does. */
  plug(node: LabNode, name: string, conf?: object): Promise<Plugged>;
  /** Runs DEL, which must succeed, then deletes the sandbox's netns. */
  unplug(plugged: Plugged): Promise<void>;
  /** The IPAM's ports of the pod of this name. */
  readPorts(name?: string): Promise<Port[]>;
}

export interface Plugged extends PodSandbox {
  node: LabNode;
  conf: object;
  /** Without prefix length; undefined where the network has none of the family. */
  ipv4: string | undefined;
  ipv6: string | undefined;
  mac: string;
  /** ADD's result, as a runtime passes it in `prevResult`. */
  result: CniJson;
}

export async function openLab(): Promise<Lab> {
  await using stack = new AsyncDisposableStack();
  const topology = stack.use(await openTopology());
  const ipam = await startIpam(topology);
  await ipam.mustCtl("apply", "-f", NETWORKS);
  const runtime = new Runtime(topology, ipam);
  const owned = stack.move();
  return {
    topology,
    ipam,
    runtime,
    a: topology.node(0),
    b: topology.node(1),
    async plug(node, name, conf = {}) {
      const sandbox = await runtime.create(name);
      return describePlugged(node, sandbox, conf, await runtime.add(node, sandbox, conf));
    },
    async unplug(plugged) {
      expectSuccess(await runtime.del(plugged.node, plugged, plugged.conf));
      await plugged.endpoint.remove();
    },
    async readPorts(name) {
      const { ports } = JSON.parse(await ipam.mustCtl("get", "ports", "-o", "json")) as { ports: Port[] };
      return name === undefined ? ports : ports.filter(port => port.name === `lab/default/${name}`);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Compares ADD's result with the interface in the sandbox. */
export async function describePlugged(
  node: LabNode,
  sandbox: PodSandbox,
  conf: object,
  answer: CniAnswer,
): Promise<Plugged> {
  const result = expectSuccess(answer);
  assert.ok(result, "ADD printed no result");
  const addresses = (result.ips ?? []).map(({ address }) => address.replace(/\/\d+$/, ""));
  const mac = result.interfaces?.find(({ sandbox: path }) => path !== undefined)?.mac;
  assert.ok(mac, `the result names no interface in the sandbox: ${answer.stdout}`);
  const shown = await sandbox.endpoint.readInterface("eth0");
  assert.equal(shown?.mac, mac);
  assert.deepEqual(shown?.addresses.toSorted(), addresses.toSorted());
  const ipv4 = addresses.find(address => address.includes("."));
  const ipv6 = addresses.find(address => address.includes(":"));
  return { ...sandbox, node, conf, ipv4, ipv6, mac, result };
}

export function expectSuccess({ code, stdout, stderr, json }: CniAnswer): CniAnswer["json"] {
  assert.equal(code, 0, `the call failed: ${stdout}${stderr}`);
  return json;
}

export function expectError({ code, stdout, json }: CniAnswer, cniCode: number, message: RegExp): void {
  assert.notEqual(code, 0, `the call succeeded: ${stdout}`);
  assert.equal(json?.code, cniCode, stdout);
  assert.match(json?.msg ?? "", message);
}
