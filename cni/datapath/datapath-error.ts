/** The failed step. Steps `ovs`, `bridge`, `ofport`, `probe` and `unplug` are worth a retry. */
export type DatapathStep =
  | "netns"
  | "veth"
  | "ovs"
  | "bridge"
  | "ofport"
  | "configure"
  | "unplug"
  | "offload"
  | "probe";

export class DatapathError extends Error {
  override readonly name = "DatapathError";
  readonly step: DatapathStep;

  constructor(step: DatapathStep, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.step = step;
  }
}

/** Another machine on the network uses an address of the attachment. */
export class AddressConflictError extends DatapathError {
  readonly address: string;
  /** Of the machine that answered. */
  readonly mac: string;

  constructor({ address, mac }: { address: string; mac: string }) {
    super("probe", `another machine on the network uses ${address}: MAC ${mac} answered a probe`);
    this.address = address;
    this.mac = mac;
  }
}
