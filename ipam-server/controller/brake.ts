import { createHash } from "node:crypto";
import type { Cluster, ClusterRegistration, HeldPass } from "../contract/index.ts";
import type { Reclaim } from "./decide-reclaims.ts";

/** One pass may end this many ports of a small cluster, and this share of a large one. */
const MIN_LIMIT = 20;
const MAX_SHARE = 0.1;

interface BrakeOptions {
  /** Stores the held pass; null: none is held. Returns the cluster with a person's confirmation. */
  register(heldPass: Exclude<ClusterRegistration["heldPass"], undefined>): Promise<Cluster>;
  /** A pass is held that was not before. */
  onHeld(pass: HeldPass): void;
}

export const limitOf = (ports: number): number => Math.max(MIN_LIMIT, Math.floor(ports * MAX_SHARE));

/**
 * Holds a pass that would end more than a bounded share of the cluster's ports, until a person confirms it: so much at once
 * is rather a fault (a wrong cluster, a damaged API) than a wanted change.
 */
export class Brake {
  readonly #options: BrakeOptions;
  #held: { id: string; keys: ReadonlySet<string>; count: number } | undefined;
  #reported: string | undefined;
  /** True once the IPAM has stored that no pass is held. */
  #isFree = false;

  constructor(options: BrakeOptions) {
    this.#options = options;
  }

  /** Ports that are held back. */
  get heldCount(): number {
    return this.#held?.count ?? 0;
  }

  /**
   * Returns what may be reclaimed. `unconfirmed` counts those that could not be read again: they come in a later pass,
   * but belong to this one. Rejects if the IPAM does not answer.
   */
  async admit(due: readonly Reclaim[], unconfirmed: number, ports: number): Promise<readonly Reclaim[]> {
    if (due.length + unconfirmed <= limitOf(ports)) {
      if (!this.#isFree) await this.#options.register(null);
      this.#isFree = true;
      this.#held = undefined;
      return due;
    }
    this.#isFree = false;
    const keys = due.map(keyOf);
    if (!keys.every(key => this.#held?.keys.has(key))) {
      this.#held = { id: digest(keys), keys: new Set(keys), count: due.length };
    }
    const { id = "", keys: shown = new Set() } = this.#held ?? {};
    const releases = due.filter(each => each.decision.action === "release").length;
    const { heldPass } = await this.#options.register({ id, releases, deletions: due.length - releases, ports });
    if (heldPass?.confirmedUntil !== undefined) return due.filter(each => shown.has(keyOf(each)));
    if (heldPass && heldPass.id !== this.#reported) this.#options.onHeld(heldPass);
    this.#reported = heldPass?.id;
    return [];
  }

  /** Another leader may have decided otherwise in between. */
  reset(): void {
    this.#held = undefined;
    this.#reported = undefined;
    this.#isFree = false;
  }
}

const keyOf = ({ port, decision }: Reclaim): string => `${decision.action} ${port.id} ${port.epoch}`;

const digest = (keys: readonly string[]): string =>
  createHash("sha256")
    .update([...keys].sort().join("\n"))
    .digest("hex")
    .slice(0, 8);
