/** Repeatable randomness (mulberry32): the same seed gives the same run. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** 0 up to, but not including, 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new Error("nothing to pick from");
    return value;
  }
}

/** The seeds that a test runs: MOORING_TEST_SEEDS of them, from MOORING_TEST_SEED on. */
export function readSeeds(count: number): number[] {
  const { MOORING_TEST_SEED = Date.now() % 1_000_000, MOORING_TEST_SEEDS = count } = process.env;
  return Array.from({ length: Number(MOORING_TEST_SEEDS) }, (_, index) => Number(MOORING_TEST_SEED) + index);
}
