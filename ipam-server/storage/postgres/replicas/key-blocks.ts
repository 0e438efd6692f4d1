import { prepare, type Send } from "../database/statement.ts";

const BLOCK = 1000;
const RESERVE = prepare(
  "UPDATE port_keys SET next_port_key = next_port_key + $1::bigint RETURNING next_port_key - $1::bigint",
);

/**
 * Keys for new ports, reserved in blocks that belong to this replica alone, so that batches of several replicas do not
 * wait for each other. The rest of a block is never used once the replica stops.
 */
export class KeyBlocks {
  #next = 1;
  #end = 1;
  #generation = 0;

  /** True if `count` consecutive keys are left of a block of this generation of the database (`migrations.ts`). */
  has(count: number, generation: number): boolean {
    return this.#generation === generation && this.#end - this.#next >= count;
  }

  /** Reserves a block of at least `count` keys, by a statement that is not rolled back with the batch. */
  async reserve(
    count: number,
    generation: number,
    run: <T>(work: (send: Send) => Promise<T>) => Promise<T>,
  ): Promise<void> {
    const size = Math.max(count, BLOCK);
    const [row] = await run(send => send<[first: number]>(RESERVE, size));
    if (!row) throw new Error("the table port_keys has no row");
    this.#next = row[0];
    this.#end = row[0] + size;
    this.#generation = generation;
  }

  get next(): number {
    return this.#next;
  }

  /** Marks keys below `next` as used; undefined if none was. */
  use(next: number | undefined): void {
    this.#next = next ?? this.#next;
  }
}
