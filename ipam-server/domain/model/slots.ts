import type { Claim, SlotOf } from "../../contract/index.ts";
import type { Catalog } from "./catalog.ts";
import { isReachable, type PlacementRequest } from "./placement-request.ts";

/** The place of a port among an application's ports; never changes. */
export interface Slot {
  /** See `slotSeries`. */
  of: string;
  number: number;
}

/** What a batch needs of one application's slots on one interface. */
export interface SlotNeed {
  slotOf: SlotOf;
  /** How many slots the batch may take at most. */
  count: number;
  /** Owners whose own slots are needed. */
  ownerUids: string[];
  /** Unbound slots are loaded for each of these sets of networks separately; undefined: on any network. */
  networkSets: (readonly number[] | undefined)[];
}

/** The longest port name, less the largest slot number: `/4294967295`. */
const MAX_LENGTH = 253 - 11;

/** True if the application's name leaves room for a slot number in a port's name. */
export const hasRoomForSlot = (slotOf: SlotOf): boolean => slotSeries(slotOf).length <= MAX_LENGTH;

/** The key of a series of slots: each interface has its own. Names have no space, so two series cannot be equal. */
export function slotSeries({ application, interface: ifname }: SlotOf): string {
  return ifname === undefined ? application : `${application} ${ifname}`;
}

export function slotName({ application, interface: ifname }: SlotOf, number: number): string {
  return `${application}/${number}${ifname === undefined ? "" : `/${ifname}`}`;
}

/** The networks that a slot for this request may be on. Throws `invalid_request` for a selector that does not parse. */
export const findSlotNetworks = (request: PlacementRequest, catalog: Catalog): number[] =>
  catalog
    .match(request.networkSelector)
    .filter(network => isReachable(network, request))
    .map(({ id }) => id);

/** Collects the slots that the claims of one batch need, each application once. */
export class SlotNeeds {
  readonly #bySeries = new Map<string, SlotNeed>();

  add(claim: Claim, slotOf: SlotOf, catalog: Catalog): void {
    // The decision rejects the claim and names the fault, here and below.
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

  /** @param names of the batch's other items, which may be names of slots */
  toNeeds(names: Iterable<string>): SlotNeed[] {
    const needs = [...this.#bySeries.values()];
    if (needs.length === 0) return needs;
    const begins = (text: string, { slotOf }: SlotNeed) => text.startsWith(`${slotOf.application}/`);
    // Slot 0 of application `a/1` and that of `a` on an interface `0` can have one name.
    const shared = needs.map(need =>
      needs.reduce(
        (sum, other) =>
          sum + (begins(other.slotOf.application, need) || begins(need.slotOf.application, other) ? other.count : 0),
        0,
      ),
    );
    for (const [index, need] of needs.entries()) need.count += shared[index] ?? 0;
    for (const name of names) {
      for (const need of needs) if (begins(name, need)) need.count++;
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
