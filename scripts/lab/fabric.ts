import { must } from "./command.ts";
import { Endpoint } from "./endpoint.ts";
import type { Ledger } from "./ledger.ts";
import { type DatapathType, Ovs } from "./ovs.ts";

const SWITCH = "leaf";

export interface Vlan {
  id: number;
  /** The gateway's addresses with their prefix lengths. */
  gateways: string[];
}

export const VLANS: readonly Vlan[] = [
  { id: 100, gateways: ["10.100.0.1/16", "fd00:100::1/64"] },
  { id: 200, gateways: ["10.200.0.1/16", "fd00:200::1/64"] },
];

/**
 * What a data centre has outside its nodes: a VLAN switch with a gateway on every VLAN. The gateways answer but do not
 * route between VLANs, so that what reaches across has found a hole.
 */
export interface Fabric {
  readonly endpoint: Endpoint;
  readonly ovs: Ovs;
  /** Joins a namespace's new interface `name` to the switch: an access port of `vlan`, or a trunk of all. */
  join(endpoint: Endpoint, name: string, vlan?: number): Promise<void>;
  /** Takes the link of a joined namespace down, or up again. */
  setLink(endpoint: Endpoint, state: "up" | "down"): Promise<void>;
}

export async function openFabric(ledger: Ledger, datapathType: DatapathType): Promise<Fabric> {
  const endpoint = new Endpoint(ledger, "fabric");
  await endpoint.create();
  const ovs = new Ovs(ledger, endpoint.namespace, datapathType);
  await ovs.start();
  await ovs.addBridge(SWITCH);
  for (const { id, gateways } of VLANS) {
    const name = `vlan${id}`;
    await ovs.vsctl("add-port", SWITCH, name, `tag=${id}`, "--", "set", "interface", name, "type=internal");
    await endpoint.ip(
      [...gateways.map(cidr => `address add ${cidr} dev ${name} nodad`), `link set ${name} up`].join("\n"),
    );
  }
  return {
    endpoint,
    ovs,
    async join(other, name, vlan) {
      const far = switchPort(other);
      await must([
        "ip",
        "-n",
        endpoint.namespace,
        "link",
        "add",
        far,
        "type",
        "veth",
        "peer",
        "name",
        name,
        "netns",
        other.namespace,
      ]);
      // The userspace datapath forwards packets whose checksum was left to a card that is not there.
      await endpoint.must(["ethtool", "-K", far, "tx", "off"]);
      await other.must(["ethtool", "-K", name, "tx", "off"]);
      await endpoint.ip(`link set ${far} up`);
      await other.ip(`link set ${name} up`);
      await ovs.vsctl("add-port", SWITCH, far, ...(vlan === undefined ? [] : [`tag=${vlan}`]));
    },
    async setLink(other, state) {
      await endpoint.ip(`link set ${switchPort(other)} ${state}`);
    },
  };
}

function switchPort(endpoint: Endpoint): string {
  return `to-${endpoint.name}`.slice(0, 15);
}
