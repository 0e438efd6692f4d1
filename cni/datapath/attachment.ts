import type { Probe, ProbeConflict } from "./probe/probe.ts";

export interface Route {
  dst: string;
  /** Absent: on-link. */
  gw?: string;
  /** Absent: the main table. */
  table?: number;
}

/** An attachment to plug, free of IPAM and Kubernetes: their identities travel in `externalIds` unchanged. */
export interface Attachment {
  /** Path of the sandbox's netns (CNI_NETNS). */
  netns: string;
  /** CNI_CONTAINERID and CNI_IFNAME: the attachment's identity. */
  sandboxId: string;
  containerInterface: string;
  /** The integration bridge; it must exist. */
  bridge: string;
  /** 802.1Q id of the access port; absent: untagged. */
  vlan?: number;
  mac: string;
  /** Bytes. 0: the least MTU of the bridge's uplinks. */
  mtu: number;
  addresses: { address: string; prefixLength: number; gateway?: string }[];
  /** Added in this order. */
  routes: Route[];
  /**
   * True: plugged without traffic, as the fence leaves a port: its host link is down and no bridge has it. The target of a
   * migration; the agent's `replug` connects it.
   */
  isSilent?: true;
  /** Further external_ids of the OVS Interface; see `formatPortIds`. */
  externalIds: Record<string, string>;
}

/** What CHECK expects. Fields that are absent are not compared. */
export interface ExpectedAttachment extends Omit<Attachment, "mac" | "mtu" | "externalIds"> {
  mac?: string;
  /** Of both ends. */
  mtu?: number;
  /** Of the host's end. */
  hostMtu?: number;
  externalIds?: Record<string, string>;
}

/** A plugged attachment. */
export interface Plugged {
  hostInterface: string;
  hostMac: string;
  /** Bytes. */
  mtu: number;
  /** The host interface's OpenFlow port number; absent while it is silent. */
  ofport?: number;
  /** The attachment's routes that exist, except those to its subnets. */
  routes: Route[];
}

/** A port of Mooring in OVS. */
export interface PluggedPort {
  hostInterface: string;
  bridge: string;
  /** Present if `ensureBridges` made the bridge. */
  isBridgeMade?: boolean;
  sandboxId: string;
  containerInterface: string;
  /** True: disconnected, and in the external_ids of its bridge only; see `NodeDatapath.fence`. */
  isFenced: boolean;
  /** True: fenced since it was plugged; see `Attachment.isSilent`. */
  isSilent?: true;
  ofport: number | undefined;
  /** As plugged; the port may have been changed since: see `wrongVlan`. */
  vlan: number | undefined;
  /** Present if tag, vlan_mode or trunks are not those of an access port of `vlan`: what they are and should be. */
  wrongVlan?: string;
  externalIds: Record<string, string>;
}

/** A difference that CHECK reports. */
export interface Difference {
  what: string;
  expected: string;
  found: string;
}

/**
 * One node's datapath. Every method has a deadline. Rejects with DatapathError, whose `step` names where it failed; a
 * failed `plug` undoes its steps in reverse.
 */
export interface Datapath extends AsyncDisposable {
  /**
   * Idempotent for the same sandbox and interface: a correct attachment stays untouched. A new one waits for `probe`
   * before its interface comes up and announces the addresses; rejects with AddressConflictError if it finds a conflict.
   */
  plug(attachment: Attachment, probe?: () => Promise<ProbeConflict | undefined>): Promise<Plugged>;
  /** Resolves with another machine that uses one of the addresses. Takes 200 ms if there is none. */
  probe(wanted: Probe): Promise<ProbeConflict | undefined>;
  /**
   * Removes the OVS port and the veth, also after the netns is gone; true if anything existed. No traffic passes once
   * it resolves; an agent's links may exist, down, a little longer.
   */
  unplug(sandboxId: string, containerInterface: string, netns: string | undefined): Promise<boolean>;
  /** Returns every difference from the attachment; empty if there is none. */
  check(attachment: ExpectedAttachment): Promise<Difference[]>;
  /** Lists Mooring's ports on all bridges, and those that were fenced. */
  list(): Promise<PluggedPort[]>;
  /** Rejects if OVS does not answer or one of the bridges is missing. */
  ready(bridges: readonly string[]): Promise<void>;
}
