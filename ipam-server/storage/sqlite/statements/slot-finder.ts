import type Database from "better-sqlite3";
import { type SlotNeed, slotName, slotSeries } from "../../../domain/model/slots.ts";
import { type PortRow, QUALIFIED_PORT_COLUMNS } from "../rows/port-rows.ts";

/**
 * Finds slots. Reads only those that the batch may claim, by index: those of its owners, and the lowest unbound ones.
 * Counts the numbers over an index (about 50 ns a slot), and reads them only if there are gaps (about 200 ns a slot).
 */
export class SlotFinder {
  readonly #byOwner: Database.Statement<[string, string], PortRow>;
  readonly #unbound: Database.Statement<[string, string, number], PortRow>;
  readonly #unboundAnywhere: Database.Statement<[string, number], PortRow>;
  readonly #extent: Database.Statement<[string], { count: number; max: number | null }>;
  readonly #numbers: Database.Statement<[string], number>;
  readonly #taken: Database.Statement<[string], string>;

  constructor(database: Database.Database) {
    const select = `SELECT ${QUALIFIED_PORT_COLUMNS} FROM`;
    this.#byOwner = database
      .prepare<[string, string], PortRow>(
        `${select} json_each(?) AS wanted CROSS JOIN ports INDEXED BY ports_slot_owner
           ON ports.slot_of = ? AND ports.owner_uid = wanted.value`,
      )
      .raw();
    const unbound = `${select} ports INDEXED BY ports_slot_unbound WHERE slot_of = ? AND host IS NULL`;
    this.#unbound = database
      .prepare<[string, string, number], PortRow>(
        `${unbound} AND network_id IN (SELECT value FROM json_each(?)) ORDER BY slot LIMIT ?`,
      )
      .raw();
    this.#unboundAnywhere = database.prepare<[string, number], PortRow>(`${unbound} ORDER BY slot LIMIT ?`).raw();
    this.#extent = database.prepare(
      "SELECT count(*) AS count, max(slot) AS max FROM ports INDEXED BY ports_slot WHERE slot_of = ?",
    );
    this.#numbers = database
      .prepare<[string], number>("SELECT slot FROM ports INDEXED BY ports_slot WHERE slot_of = ? ORDER BY slot")
      .pluck();
    this.#taken = database
      .prepare<[string], string>(
        "SELECT name FROM json_each(?) AS wanted CROSS JOIN ports ON ports.name = wanted.value",
      )
      .pluck();
  }

  /** The rows of slots that the batch may claim; may contain duplicates. */
  findRows(needs: readonly SlotNeed[]): PortRow[] {
    return needs.flatMap(({ slotOf, ownerUids, networkSets, count }) => {
      const series = slotSeries(slotOf);
      return [
        ...this.#byOwner.all(JSON.stringify([...new Set(ownerUids)]), series),
        ...networkSets.flatMap(networks =>
          networks
            ? this.#unbound.all(series, JSON.stringify(networks), count)
            : this.#unboundAnywhere.all(series, count),
        ),
      ];
    });
  }

  /** See `Snapshot.vacantSlots`. */
  findVacant(needs: readonly SlotNeed[]): Map<string, number[]> {
    return new Map(needs.map(need => [slotSeries(need.slotOf), this.#findVacantOf(need)]));
  }

  #findVacantOf({ slotOf, count }: SlotNeed): number[] {
    const vacant: number[] = [];
    const unnumbered = this.#unnumbered(slotSeries(slotOf));
    // Another port may have a slot's name, by a claim or a reservation of that name.
    while (vacant.length < count) {
      const numbers = Array.from({ length: count - vacant.length }, () => unnumbered.next().value);
      const names = numbers.map(number => slotName(slotOf, number));
      const taken = new Set(this.#taken.all(JSON.stringify(names)));
      vacant.push(...numbers.filter((_, index) => !taken.has(names[index] ?? "")));
    }
    return vacant;
  }

  /** Yields the numbers that no slot of the series has, ascending, endlessly. */
  *#unnumbered(series: string): Generator<number, never> {
    const { count = 0, max = null } = this.#extent.get(series) ?? {};
    let next = 0;
    const isDense = (max ?? -1) === count - 1;
    for (const number of isDense ? [] : this.#numbers.all(series)) {
      while (next < number) yield next++;
      next = number + 1;
    }
    for (next = Math.max(next, (max ?? -1) + 1); ; ) yield next++;
  }
}
