/**
 * What the datapath plugs. It knows nothing of IPAM or Kubernetes: identity travels in `externalIds` as it was given.
 */
export interface Attachment {
  /** Path of the sandbox's network namespace (CNI_NETNS). */
  netns: string;
  /** CNI_CONTAINERID and CNI_IFNAME: the identity that finds the attachment again. */
  sandboxId: string;
  containerInterface: string;
  /** The integration bridge; it must exist. */
  bridge: string;
  /** 802.1Q id of the access port; absent: untagged. */
  vlan?: number;
  mac: string;
  /** Bytes. */
  mtu: number;
  addresses: { address: string; prefixLength: number }[];
  /** gw absent: on-link. Applied in order. */
  routes: { dst: string; gw?: string }[];
  /** True: addresses are set without duplicate address detection, because the last holder is known to be gone. */
  skipDad: boolean;
  /** Further OVS Interface external_ids, such as `mooring-port`, `mooring-port-id`, `mooring-epoch`. */
  externalIds: Record<string, string>;
}

/** What is plugged, as the datapath found or made it. */
export interface Plugged {
  hostInterface: string;
  hostMac: string;
  /** OpenFlow port number that OVS gave the host interface. */
  ofport: number;
}

/** One of Mooring's own ports as OVS shows it. */
export interface PluggedPort {
  hostInterface: string;
  bridge: string;
  sandboxId: string;
  containerInterface: string;
  ofport: number | undefined;
  /** As plugged; the port may have been changed since: see `wrongVlan`. */
  vlan: number | undefined;
  /** Present if tag, vlan_mode or trunks are not those of an access port of `vlan`: what they are and should be. */
  wrongVlan?: string;
  externalIds: Record<string, string>;
}

/** A difference between what should be and what is, for CHECK. */
export interface Difference {
  what: string;
  expected: string;
  found: string;
}

/**
 * The datapath of one node. Every method has a deadline, and `plug` undoes its own steps in reverse when one fails.
 * Failures reject with DatapathError, whose `step` names where it failed.
 */
export interface Datapath extends AsyncDisposable {
  /** Idempotent for the same sandbox and interface: plugging again what is already right changes nothing. */
  plug(attachment: Attachment): Promise<Plugged>;
  /**
   * Removes whatever is there: OVS port, host link, link in the pod; a vanished namespace is no error. True if anything was
   * there. When it resolves nothing passes any more; an agent's links may be there, down, for a moment longer.
   */
  unplug(sandboxId: string, containerInterface: string, netns: string | undefined): Promise<boolean>;
  /** Empty when all is as it should be. */
  check(attachment: Attachment): Promise<Difference[]>;
  /** All of Mooring's ports on the bridge. */
  list(bridge: string): Promise<PluggedPort[]>;
  /** Rejects when OVS does not answer or the bridge is missing. */
  ready(bridge: string): Promise<void>;
}
