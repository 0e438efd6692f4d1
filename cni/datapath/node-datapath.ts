import type { SandboxIds } from "../external-ids.ts";
import type { Attachment, Datapath, Plugged } from "./attachment.ts";
import type { BridgePlan } from "./bridges/bridge-plan.ts";
import type { RemovedBridges } from "./bridges/remove-bridges.ts";

/** A link of Mooring on the host, identified by its alias even if OVS has lost its row. */
export interface HostLink {
  name: string;
  sandboxId: string;
  containerInterface: string;
  up: boolean;
}

/** The part of an attachment that OVS needs; replugging does not touch the pod. */
export type Replug = Omit<Attachment, "netns" | "mtu" | "routes" | "isSilent"> & {
  /** Absent: lost with OVSDB. */
  netns?: string;
};

export type Replugged = Pick<Plugged, "hostInterface" | "ofport">;

/** Operations of the node's agent, in addition to those of the CNI verbs. */
export interface NodeDatapath extends Datapath {
  /** Creates missing bridges, patch ports and uplinks, and removes our patch ports that are not planned; see BridgePlan. */
  ensureBridges(plan: BridgePlan): Promise<string[]>;
  /** Removes what `ensureBridges` made and no other port uses; nothing while a pod is plugged or fenced. */
  removeOwnBridges(): Promise<RemovedBridges>;
  /**
   * Disconnects a sandbox from every bridge and takes its host link down; the pod keeps its interface, and `replug`
   * undoes it. True if it was connected.
   */
  fence(sandbox: SandboxIds): Promise<boolean>;
  /**
   * Restores a sandbox's port in OVS, or its external_ids, without touching the pod. Undefined if the host link is
   * gone.
   */
  replug(attachment: Replug): Promise<Replugged | undefined>;
  /**
   * Announces the pod's addresses on its link, once that has a carrier. Needed after `replug` connected it, because
   * switches expect its MAC where it was before.
   */
  announce(netns: string, containerInterface: string): Promise<void>;
  /**
   * Makes our port of this sandbox an access port of its recorded VLAN again. True if a port was changed; false if all
   * were right or none says which VLAN is its own. Idempotent.
   */
  restoreVlan(sandbox: SandboxIds): Promise<boolean>;
  /** Lists all our links on the host, or rejects: never a partial list. */
  listLinks(): Promise<HostLink[]>;
  /** Returns the database's id, which changes when OVSDB is recreated empty. Rejects while OVSDB does not answer. */
  identify(): Promise<string>;
}
