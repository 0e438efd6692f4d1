/** The failed step. Steps `ovs`, `bridge`, `ofport` and `unplug` are worth a retry. */
export type DatapathStep = "netns" | "veth" | "ovs" | "bridge" | "ofport" | "configure" | "unplug" | "offload";

export class DatapathError extends Error {
  override readonly name = "DatapathError";
  readonly step: DatapathStep;

  constructor(step: DatapathStep, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.step = step;
  }
}
