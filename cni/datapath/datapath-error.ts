/** Where in the datapath something failed; `ovs` and `bridge` are worth another try, the rest are not as they stand. */
export type DatapathStep = "netns" | "veth" | "ovs" | "bridge" | "ofport" | "configure" | "unplug" | "offload";

export class DatapathError extends Error {
  override readonly name = "DatapathError";
  readonly step: DatapathStep;

  constructor(step: DatapathStep, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.step = step;
  }
}
