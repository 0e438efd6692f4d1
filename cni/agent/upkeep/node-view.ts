import type { IntegrationBridge } from "../../datapath/bridges/integration-bridges.ts";
import type { NodeDatapath } from "../../datapath/node-datapath.ts";
import { keyOf, type LocalPort, mergeLocalPorts, type OvsSide, readSandboxState } from "./local-port.ts";

/** Reads what is plugged on this node from OVS and the kernel. Keeps the last read as an index. */
export class NodeView {
  readonly #datapath: Pick<NodeDatapath, "list" | "listLinks">;
  readonly #bridges: readonly IntegrationBridge[];
  readonly #look: typeof readSandboxState;
  #lastKnown: ReadonlyMap<string, OvsSide> = new Map();
  #names: ReadonlySet<string | undefined> = new Set();
  #addresses: ReadonlySet<string> = new Set();

  constructor(
    datapath: Pick<NodeDatapath, "list" | "listLinks">,
    bridges: readonly IntegrationBridge[],
    look = readSandboxState,
  ) {
    this.#datapath = datapath;
    this.#bridges = bridges;
    this.#look = look;
  }

  /** Rejects with DatapathError if OVS or the kernel cannot be read. */
  async read(): Promise<LocalPort[]> {
    // OVS first, so that a port created meanwhile shows as a link alone and never as a port without its link.
    const plugged = await this.#datapath.list();
    const facts = { bridges: this.#bridges, look: this.#look };
    const found = mergeLocalPorts(plugged, await this.#datapath.listLinks(), facts);
    const local = found.map(port => {
      const lastKnown = port.ovs === undefined ? this.#lastKnown.get(keyOf(port)) : undefined;
      return lastKnown === undefined ? port : { ...port, lastKnown };
    });
    this.#lastKnown = new Map(local.flatMap(port => entryOf(port)));
    this.#names = new Set(local.map(({ ovs }) => ovs?.portName));
    this.#addresses = new Set(local.flatMap(({ ovs }) => ovs?.addresses ?? []));
    return local;
  }

  /** Reads the port again. Returns undefined if it has changed since `local` was read. */
  async findAgain(local: LocalPort): Promise<LocalPort | undefined> {
    const found = (await this.read()).find(each => keyOf(each) === keyOf(local));
    const isSame =
      found !== undefined &&
      found.hasLink === local.hasLink &&
      found.isFenced === local.isFenced &&
      found.sandbox === local.sandbox &&
      found.ovs?.portId === local.ovs?.portId &&
      found.ovs?.epoch === local.ovs?.epoch;
    return isSame ? found : undefined;
  }

  /** True if a port of this name, or with one of these addresses, was plugged at the last read. */
  concerns(portName: string | undefined, addresses: readonly string[] = []): boolean {
    return (portName !== undefined && this.#names.has(portName)) || addresses.some(each => this.#addresses.has(each));
  }
}

function entryOf(port: LocalPort): [string, OvsSide][] {
  const side = port.ovs ?? port.lastKnown;
  return side === undefined ? [] : [[keyOf(port), side]];
}
