import type { SlotOf } from "../../../contract/index.ts";
import type { PortRecord } from "../../model/port-record.ts";
import { slotName, slotSeries } from "../../model/slots.ts";
import type { Snapshot } from "../../model/snapshot.ts";

interface VacantSlots {
  /** The snapshot's, less those that the batch has used. */
  left: number[];
  /** Numbers whose ports the batch deleted. */
  vacated: Set<number>;
}

/** The slots of applications that a batch works with. */
export class WorkingSlots {
  readonly #vacantInStore: Snapshot["vacantSlots"];
  /** By series and number. */
  readonly #ports = new Map<string, Map<number, PortRecord>>();
  readonly #vacant = new Map<string, VacantSlots>();

  constructor({ vacantSlots }: Pick<Snapshot, "vacantSlots">) {
    this.#vacantInStore = vacantSlots;
  }

  /** The ports of a series. */
  of(series: string): Iterable<PortRecord> {
    return this.#ports.get(series)?.values() ?? [];
  }

  /** Adds the port if it has a slot. */
  put(port: PortRecord): void {
    if (!port.slot) return;
    const { of, number } = port.slot;
    const numbers = this.#ports.get(of);
    if (numbers) numbers.set(number, port);
    else this.#ports.set(of, new Map([[number, port]]));
  }

  remove({ slot }: PortRecord): void {
    if (!slot) return;
    this.#ports.get(slot.of)?.delete(slot.number);
    this.#vacanciesOf(slot.of).vacated.add(slot.number);
  }

  /** The lowest slot number whose name no port has. */
  lowestVacant(slotOf: SlotOf, hasPort: (name: string) => boolean): number {
    const series = slotSeries(slotOf);
    const { left, vacated } = this.#vacanciesOf(series);
    const isUsed = (number: number) => hasPort(slotName(slotOf, number));
    while (left[0] !== undefined && isUsed(left[0])) left.shift();
    const lowest = Math.min(...left.slice(0, 1), ...[...vacated].filter(number => !isUsed(number)));
    if (lowest === Number.POSITIVE_INFINITY) throw new Error(`the snapshot has too few vacant slots of ${series}`);
    return lowest;
  }

  #vacanciesOf(series: string): VacantSlots {
    let vacancies = this.#vacant.get(series);
    if (!vacancies) {
      vacancies = { left: [...(this.#vacantInStore.get(series) ?? [])], vacated: new Set() };
      this.#vacant.set(series, vacancies);
    }
    return vacancies;
  }
}
