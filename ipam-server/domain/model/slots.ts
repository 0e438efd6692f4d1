import type { Claim, SlotOf } from "../../contract/index.ts";
import type { Catalog } from "./catalog.ts";
import { isReachable } from "./reachable.ts";

/** One of an application's ports, for its whole life. */
export interface Slot {
  /** See `slotSeries`. */
  of: string;
  number: number;
}

/** What a batch may ask about one application's slots on one interface. */
export interface SlotNeed {
  slotOf: SlotOf;
  /** How many slots the batch may take at most. */
  count: number;
  /** Those whose own slots are looked for. */
  ownerUids: string[];
  /** Unbound slots are looked for on each of these sets of networks by itself; undefined: on any network. */
  networkSets: (readonly number[] | undefined)[];
}

/** Of a port's name, less the largest slot that is ever picked: `/4294967295`. */
const MAX_LENGTH = 253 - 11;

/** Whether the application's name leaves room for a slot. */
export const hasRoomForSlot = (slotOf: SlotOf): boolean => slotSeries(slotOf).length <= MAX_LENGTH;

/** Numbers one interface's slots apart from another's. No name has a space, so that two cannot be the same. */
export function slotSeries({ application, interface: ifname }: SlotOf): string {
  return ifname === undefined ? application : `${application} ${ifname}`;
}

export function slotName({ application, interface: ifname }: SlotOf, number: number): string {
  return `${application}/${number}${ifname === undefined ? "" : `/${ifname}`}`;
}

/** The networks that a slot of this claim may be on. Throws `invalid_request` when the selector does not parse. */
export const findSlotNetworks = (claim: Claim, catalog: Catalog): number[] =>
  catalog
    .match(claim.networkSelector)
    .filter(network => isReachable(network, claim))
    .map(({ id }) => id);

/** Collects the slots that claims of one batch need, each application once. */
export class SlotNeeds {
  readonly #bySeries = new Map<string, SlotNeed>();

  add(claim: Claim, slotOf: SlotOf, catalog: Catalog): void {
    // The decision will say what is wrong with the claim, here and below.
    if (!hasRoomForSlot(slotOf)) return;
    const need = this.#needOf(slotOf);
    need.count++;
    need.ownerUids.push(claim.owner.uid);
    let networks: number[];
    try {
      networks = findSlotNetworks(claim, catalog);
    } catch {
      return;
    }
    const known = (other: readonly number[] | undefined) => JSON.stringify(other) === JSON.stringify(networks);
    if (!need.networkSets.some(known)) need.networkSets.push(networks);
    if (claim.onMismatch === "reallocate" && !need.networkSets.includes(undefined)) need.networkSets.push(undefined);
  }

  /** `names`: those that the batch's other items may take, a slot's perhaps. */
  toNeeds(names: Iterable<string>): SlotNeed[] {
    const needs = [...this.#bySeries.values()];
    if (needs.length === 0) return needs;
    for (const name of names) {
      for (const need of needs) if (name.startsWith(`${need.slotOf.application}/`)) need.count++;
    }
    return needs;
  }

  #needOf(slotOf: SlotOf): SlotNeed {
    const series = slotSeries(slotOf);
    let need = this.#bySeries.get(series);
    if (!need) {
      need = { slotOf, count: 0, ownerUids: [], networkSets: [] };
      this.#bySeries.set(series, need);
    }
    return need;
  }
}
