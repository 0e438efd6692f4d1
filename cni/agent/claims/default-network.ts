/** `auto`: as observed on this node. */
export const PRECLAIM_MODES = ["auto", "always", "never"] as const;
export type PreclaimMode = (typeof PRECLAIM_MODES)[number];

/**
 * Whether Mooring is this node's default network, so that a pod which is scheduled here will need its first port. Where it
 * only adds further interfaces (Multus), a pre-claim would hold an address that no pod uses.
 */
export class DefaultNetwork {
  readonly #mode: PreclaimMode;
  /** Assumed until a pod has run without an ADD of its first interface. */
  #isOurs = true;

  constructor(mode: PreclaimMode) {
    this.#mode = mode;
  }

  get isOurs(): boolean {
    return this.#mode === "auto" ? this.#isOurs : this.#mode === "always";
  }

  /** Call it for each ADD of a pod's first interface. */
  observeAdd(): void {
    this.#isOurs = true;
  }

  /** Call it for each pod that was pre-claimed and runs without an ADD of its first interface. */
  observeForeignPod(): void {
    this.#isOurs = false;
  }
}
