import type { PortAttachment } from "../../../ipam-server/contract/index.ts";
import type { Datapath } from "../../datapath/attachment.ts";
import { findIntegrationBridge, type IntegrationBridge } from "../../datapath/bridges/integration-bridges.ts";
import type { ProbeConflict } from "../../datapath/probe/probe.ts";

/** Ports whose probe is remembered: more than a node has pods and leases. */
const MAX_KEPT = 4096;

/**
 * Probes of addresses that this node has claimed for pods to come: begun with the pre-claim or the lease, so that the ADD
 * finds the result. One that fails is forgotten, and the ADD probes itself.
 */
export class AddressProbes {
  readonly #datapath: Pick<Datapath, "probe">;
  readonly #bridges: readonly IntegrationBridge[];
  readonly #begun = new Map<string, Promise<ProbeConflict | undefined>>();

  constructor(datapath: Pick<Datapath, "probe">, bridges: readonly IntegrationBridge[]) {
    this.#datapath = datapath;
    this.#bridges = bridges;
  }

  /** Begins a probe if the addresses need one that has not begun. */
  begin(attachment: PortAttachment): void {
    const { port, segment, previousBindingReleased, inactive } = attachment;
    const key = keyOf(attachment);
    const bridge = findIntegrationBridge(this.#bridges, segment.physicalNetwork);
    if (previousBindingReleased || inactive || bridge === undefined || this.#begun.has(key)) return;
    const vlan = segment.type === "vlan" ? segment.id : 0;
    const addresses = port.fixedIps.map(({ address }) => address);
    const probe = this.#datapath.probe({ bridge, vlan, addresses, mac: port.mac });
    this.#begun.set(key, probe);
    probe.catch(() => this.#begun.delete(key));
    const [oldest = ""] = this.#begun.keys();
    if (this.#begun.size > MAX_KEPT) this.#begun.delete(oldest);
  }

  /** Undefined if none was begun. */
  find(attachment: PortAttachment): Promise<ProbeConflict | undefined> | undefined {
    return this.#begun.get(keyOf(attachment));
  }
}

/** A lease keeps id, epoch and addresses when it becomes a pod's port; a port that moves or comes back has another epoch. */
const keyOf = ({ port: { id, epoch, fixedIps } }: PortAttachment): string =>
  [id, epoch, ...fixedIps.map(({ address }) => address)].join(" ");
