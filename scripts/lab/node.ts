import { must } from "./command.ts";
import { Endpoint } from "./endpoint.ts";
import type { Fabric } from "./fabric.ts";
import type { Ledger } from "./ledger.ts";
import { type DatapathType, Ovs } from "./ovs.ts";

export const BRIDGE = "br-int";
export const TRUNK = "trunk0";

/** A node: a namespace with its own OVS, whose `br-int` has the trunk to the fabric as its one port. */
export class LabNode extends Endpoint {
  readonly ovs: Ovs;
  /** On the management network. */
  readonly address: string;

  constructor(ledger: Ledger, name: string, address: string, datapathType: DatapathType) {
    super(ledger, name);
    this.address = address;
    this.ovs = new Ovs(ledger, this.namespace, datapathType);
  }

  async open(fabric: Fabric): Promise<void> {
    await this.create();
    await this.ovs.start();
    await this.ovs.addBridge(BRIDGE);
    await fabric.join(this, TRUNK);
    await this.ovs.vsctl("add-port", BRIDGE, TRUNK);
  }

  /** Names of the bridge's ports apart from the trunk and those for probes: what is plugged. */
  async listPluggedPorts(): Promise<string[]> {
    const ports = await this.ovs.vsctl("list-ports", BRIDGE);
    return ports.split("\n").filter(port => port !== "" && port !== TRUNK && !port.startsWith("mprb"));
  }

  /** Names of the namespace's network devices that neither the lab nor OVS itself made: what is left over. */
  async listVeths(): Promise<string[]> {
    const shown = await must(["ip", "-n", this.namespace, "-json", "link", "show", "type", "veth"]);
    const links = JSON.parse(shown || "[]") as { ifname?: string }[];
    return links.map(({ ifname }) => ifname ?? "").filter(name => name !== "" && name !== TRUNK && name !== "eth0");
  }
}
