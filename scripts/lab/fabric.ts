import { join } from "node:path";
import { must } from "./command.ts";
import { Endpoint } from "./endpoint.ts";
import type { Ledger } from "./ledger.ts";
import { type DatapathType, Ovs } from "./ovs.ts";

const TAGGER = "tagger";

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

/**
 * Each VLAN is a Linux bridge, which learns where a MAC is from the first frame, as a switch's hardware does. (An Open
 * vSwitch in its normal mode may use what it learned for half a second, which would be measured as the pod's outage.)
 * Open vSwitch only takes the tags off and puts them on, by fixed flows: not every kernel has VLAN devices.
 */
export async function openFabric(ledger: Ledger, datapathType: DatapathType): Promise<Fabric> {
  const endpoint = new Endpoint(ledger, "fabric");
  await endpoint.create();
  const ovs = new Ovs(ledger, endpoint.namespace, datapathType);
  await ovs.start();
  await ovs.addBridge(TAGGER);
  await ovs.vsctl("set-fail-mode", TAGGER, "secure");
  for (const { id, gateways } of VLANS) {
    const name = bridgeOf(id);
    await endpoint.ip(
      [
        `link add ${name} type bridge`,
        ...gateways.map(cidr => `address add ${cidr} dev ${name} nodad`),
        `link set ${name} up`,
      ].join("\n"),
    );
  }
  const joinTrunk = async (port: string) => {
    const flows: string[] = [];
    await ovs.vsctl("add-port", TAGGER, port);
    const trunk = await ovs.vsctl("get", "interface", port, "ofport");
    for (const { id } of VLANS) {
      const untagged = `${id}-${port}`.slice(0, 15);
      await ovs.vsctl("add-port", TAGGER, untagged, "--", "set", "interface", untagged, "type=internal");
      const access = await ovs.vsctl("get", "interface", untagged, "ofport");
      flows.push(`in_port=${trunk},dl_vlan=${id},actions=strip_vlan,output:${access}`);
      flows.push(`in_port=${access},actions=mod_vlan_vid:${id},output:${trunk}`);
      await endpoint.ip(`link set ${untagged} master ${bridgeOf(id)}\nlink set ${untagged} up`);
    }
    await must(["ovs-ofctl", "add-flows", `unix:${join(ovs.dir, `${TAGGER}.mgmt`)}`, "-"], { input: flows.join("\n") });
  };
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
      if (vlan === undefined) await joinTrunk(far);
      else await endpoint.ip(`link set ${far} master ${bridgeOf(vlan)}`);
    },
    async setLink(other, state) {
      await endpoint.ip(`link set ${switchPort(other)} ${state}`);
    },
  };
}

const bridgeOf = (vlan: number): string => `vlan${vlan}`;

function switchPort(endpoint: Endpoint): string {
  return `to-${endpoint.name}`.slice(0, 15);
}
