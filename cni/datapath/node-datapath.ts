import type { Attachment, Datapath, Plugged } from "./attachment.ts";
import type { BridgePlan } from "./bridges/bridge-plan.ts";
import type { RemovedBridges } from "./bridges/remove-bridges.ts";

/** One of Mooring's own links of the host, known by its alias even when OVS has forgotten it. */
export interface HostLink {
  name: string;
  sandboxId: string;
  containerInterface: string;
  up: boolean;
}

/** What of an attachment OVS has to know; the pod itself is not touched. */
export type Replug = Omit<Attachment, "netns" | "mtu" | "routes" | "skipDad"> & {
  /** Absent: no longer known. */
  netns?: string;
};

/** What only the node's agent does with the datapath, beside the CNI verbs. */
export interface NodeDatapath extends Datapath {
  /** Makes the bridges and patch ports that are missing, and nothing else. Resolves with what it made, for the log. */
  ensureBridges(plan: BridgePlan): Promise<string[]>;
  /** Undoes `ensureBridges` as far as nobody else uses it; nothing at all while a pod is plugged. */
  removeOwnBridges(): Promise<RemovedBridges>;
  /**
   * Puts a sandbox's port back into OVS, or its external_ids right, without touching the pod. Undefined when the host link is
   * gone: then there is nothing to plug.
   */
  replug(attachment: Replug): Promise<Plugged | undefined>;
  /** All of our links on the host, or a rejection: never a part. */
  listLinks(): Promise<HostLink[]>;
  /** Changes when OVSDB was made anew, with nothing of before in it. Rejects while OVSDB does not answer. */
  identify(): Promise<string>;
}
