import { must } from "./command.ts";
import { Endpoint } from "./endpoint.ts";
import { type Fabric, openFabric } from "./fabric.ts";
import { Ledger } from "./ledger.ts";
import { LabNode } from "./node.ts";
import { detectDatapathType } from "./ovs.ts";

export const IPAM_ADDRESS = "172.31.0.1";

export interface TopologyOptions {
  /** Default 2: node-a, node-b. */
  nodes?: number;
  /** What the lab is for; `scripts/demo --stop` finds its labs by it. */
  label?: string;
}

/**
 * Two nodes (or more), a fabric and a machine without Kubernetes, all in namespaces of one id:
 *
 * ```
 *  mgmt (IPAM 172.31.0.1) ----- eth0 of every node
 *
 *  pod - br-int - trunk0 ===+
 *           node-a          |
 *                        fabric: VLAN switch, gateways 10.100.0.1, 10.200.0.1 ---- legacy (VLAN 100, 10.100.0.9)
 *           node-b          |
 *  pod - br-int - trunk0 ===+
 * ```
 *
 * The root namespace's addresses, links and OVS are neither used nor touched. Several topologies can run at once.
 */
export interface Topology extends AsyncDisposable {
  readonly id: string;
  /** Logs, databases and sockets of this lab. */
  readonly dir: string;
  readonly nodes: readonly LabNode[];
  readonly fabric: Fabric;
  readonly mgmt: Endpoint;
  /** A machine on VLAN 100 without Mooring. */
  readonly legacy: Endpoint;
  node(index: number): LabNode;
  /** A network namespace for a pod, as a runtime makes one; its name must be new. */
  addPod(name: string): Promise<Endpoint>;
  /** The lab outlives this process; the caller of `Ledger.list` removes it. */
  keep(): void;
}

export async function openTopology(options: TopologyOptions = {}): Promise<Topology> {
  await Ledger.sweep();
  await using stack = new AsyncDisposableStack();
  const ledger = stack.use(Ledger.create(options.label ?? "test"));
  const datapathType = await detectDatapathType();

  const mgmt = new Endpoint(ledger, "mgmt");
  const fabric = await openFabric(ledger, datapathType);
  await mgmt.create();
  await mgmt.ip(`link add mgmt0 type bridge\naddress add ${IPAM_ADDRESS}/24 dev mgmt0\nlink set mgmt0 up`);

  const legacy = new Endpoint(ledger, "legacy");
  const openLegacy = async () => {
    await legacy.create();
    await fabric.join(legacy, "eth0", 100);
    await legacy.ip("address add 10.100.0.9/16 dev eth0\naddress add fd00:100::9/64 dev eth0 nodad");
  };

  const nodes = Array.from({ length: options.nodes ?? 2 }, (_, index) => {
    const name = `node-${String.fromCharCode(97 + index)}`;
    return new LabNode(ledger, name, `172.31.0.${11 + index}`, datapathType);
  });
  const openNode = async (node: LabNode) => {
    await node.open(fabric);
    const far = `to-${node.name}`;
    await must([
      "ip",
      "-n",
      mgmt.namespace,
      "link",
      "add",
      far,
      "type",
      "veth",
      "peer",
      "name",
      "eth0",
      "netns",
      node.namespace,
    ]);
    await mgmt.ip(`link set ${far} master mgmt0 up`);
    await node.ip(`address add ${node.address}/24 dev eth0\nlink set eth0 up`);
  };
  await Promise.all([openLegacy(), ...nodes.map(openNode)]);

  const owned = stack.move();
  let kept = false;
  return {
    id: ledger.id,
    dir: ledger.dir,
    nodes,
    fabric,
    mgmt,
    legacy,
    node(index) {
      const node = nodes[index];
      if (!node) throw new RangeError(`the lab has ${nodes.length} nodes`);
      return node;
    },
    async addPod(name) {
      const pod = new Endpoint(ledger, `pod-${name}`);
      await pod.create();
      return pod;
    },
    keep() {
      kept = true;
      ledger.keep();
    },
    async [Symbol.asyncDispose]() {
      if (!kept) await owned.disposeAsync();
    },
  };
}
