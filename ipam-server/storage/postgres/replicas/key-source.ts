import { prepare, type Send } from "../database/statement.ts";

const BLOCK = 1000;
const TAKE = prepare(
  "UPDATE port_keys SET next_port_key = next_port_key + $1::bigint RETURNING next_port_key - $1::bigint",
);

/**
 * Keys for new ports, in blocks that belong to this replica alone: batches of several replicas need not wait for each
 * other's. What is left of a block when the replica ends is never used.
 */
export class KeyBlocks {
  #next = 1;
  #end = 1;
  #generation = 0;

  /** Whether so many are left in a row, of a block taken in this generation of the database (`migrations.ts`). */
  has(count: number, generation: number): boolean {
    return this.#generation === generation && this.#end - this.#next >= count;
  }

  /** Takes a block of at least so many, by a statement that is not undone with the batch. */
  async take(
    count: number,
    generation: number,
    run: <T>(work: (send: Send) => Promise<T>) => Promise<T>,
  ): Promise<void> {
    const size = Math.max(count, BLOCK);
    const [row] = await run(send => send<[first: number]>(TAKE, size));
    if (!row) throw new Error("the table port_keys has no row");
    this.#next = row[0];
    this.#end = row[0] + size;
    this.#generation = generation;
  }

  get next(): number {
    return this.#next;
  }

  /** Keys below this were given out; undefined: none was. */
  use(next: number | undefined): void {
    this.#next = next ?? this.#next;
  }
}
