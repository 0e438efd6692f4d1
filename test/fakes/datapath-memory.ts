import type {
  Attachment,
  Datapath,
  Difference,
  ExpectedAttachment,
  PluggedPort,
} from "../../cni/datapath/attachment.ts";
import { AddressConflictError } from "../../cni/datapath/datapath-error.ts";
import { deriveExternalIds } from "../../cni/datapath/differences.ts";
import type { NodeDatapath } from "../../cni/datapath/node-datapath.ts";

export type DatapathMethod = Exclude<keyof Datapath, symbol> | "fence";

/** A node's datapath in memory: what is plugged outlives the handles, as on a real node. */
export class FakeNode {
  readonly plugged = new Map<string, PluggedPort & { attachment?: Attachment }>();
  readonly calls: string[] = [];
  /** A method listed here rejects with its error, once its effect (for unplug: the link's removal) is made. */
  readonly failures: Partial<Record<DatapathMethod, Error>> = {};
  differences: Difference[] = [];
  /** What the last check was asked to compare. */
  expected: ExpectedAttachment | undefined;
  /** MACs of other machines, by the address they use. */
  readonly foreign = new Map<string, string>();
  openHandles = 0;

  /** What is plugged and not fenced, as `sandbox/interface`. */
  connected(): string[] {
    return [...this.plugged].flatMap(([key, { isFenced }]) => (isFenced ? [] : [key]));
  }

  open(): Datapath & Pick<NodeDatapath, "fence"> {
    this.openHandles += 1;
    return {
      plug: async (attachment, probe) => {
        const found = await probe?.();
        if (found) throw new AddressConflictError(found);
        const key = `${attachment.sandboxId}/${attachment.containerInterface}`;
        this.calls.push(`plug ${key}`);
        this.#failAt("plug");
        const hostInterface = `mo${key.replaceAll(/[^a-z0-9]/g, "").slice(0, 12)}`;
        const { bridge, sandboxId, containerInterface, vlan } = attachment;
        const externalIds = deriveExternalIds(attachment);
        const port = {
          hostInterface,
          bridge,
          sandboxId,
          containerInterface,
          isFenced: attachment.isSilent === true,
          ...(attachment.isSilent && { isSilent: attachment.isSilent }),
          ofport: attachment.isSilent ? undefined : 7,
          vlan,
          externalIds,
        };
        this.plugged.set(key, { ...port, attachment });
        return {
          hostInterface,
          hostMac: "02:00:00:00:00:07",
          mtu: attachment.mtu || 1450,
          ofport: 7,
          routes: attachment.routes,
        };
      },
      probe: async ({ addresses }) => {
        this.calls.push(`probe ${addresses.join(" ")}`);
        this.#failAt("probe");
        const address = addresses.find(each => this.foreign.has(each));
        return address === undefined ? undefined : { address, mac: this.foreign.get(address) ?? "" };
      },
      unplug: async (sandboxId, containerInterface) => {
        this.calls.push(`unplug ${sandboxId}/${containerInterface}`);
        const removed = this.plugged.delete(`${sandboxId}/${containerInterface}`);
        this.#failAt("unplug");
        return removed;
      },
      fence: async ({ sandboxId, containerInterface }) => {
        const key = `${sandboxId}/${containerInterface}`;
        this.calls.push(`fence ${key}`);
        const port = this.plugged.get(key);
        if (port !== undefined) this.plugged.set(key, { ...port, isFenced: true, ofport: undefined });
        this.#failAt("fence");
        return port !== undefined;
      },
      check: async expected => {
        this.#failAt("check");
        this.expected = expected;
        return this.differences;
      },
      list: async () => {
        this.#failAt("list");
        return [...this.plugged.values()];
      },
      ready: async () => this.#failAt("ready"),
      [Symbol.asyncDispose]: async () => {
        this.openHandles -= 1;
      },
    };
  }

  #failAt(method: DatapathMethod): void {
    const failure = this.failures[method];
    if (failure !== undefined) throw failure;
  }
}
