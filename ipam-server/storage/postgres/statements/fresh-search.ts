import type { Pool, SubnetRecord } from "../../../domain/model/catalog.ts";
import type { FreshRun } from "../../../domain/model/snapshot.ts";
import { decodeOffset, encodeOffset } from "../../offset-code.ts";
import { toArray } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";

/** Offsets read in addition, because some after the cursor are held by a claim that names its address. */
const SLACK = 16;
const MAX_WINDOW = 4096n;

const USED_BETWEEN = `ARRAY(
  SELECT ip_offset::text FROM fixed_ips WHERE subnet_id = p.subnet_id AND ip_offset BETWEEN p.from_offset AND p.to_offset
  UNION ALL
  SELECT ip_offset::text FROM freed WHERE subnet_id = p.subnet_id AND ip_offset BETWEEN p.from_offset AND p.to_offset)`;
/** Each pool's cursor, and the used offsets in the window after it. */
const POOLS = prepare(
  `SELECT p.id, p.from_offset::text, p.to_offset::text, ${USED_BETWEEN} FROM (
     SELECT id, subnet_id, next_offset AS from_offset,
       least(last_offset::numeric, next_offset::numeric + $2::int - 1)::bigint AS to_offset
     FROM pools WHERE id = ANY ($1::int[])) AS p`,
);
const WINDOW = prepare(
  `SELECT ${USED_BETWEEN} FROM (SELECT $1::int AS subnet_id, $2::bigint AS from_offset, $3::bigint AS to_offset) AS p`,
);
export type PoolRow = [id: number, from: string | null, to: string | null, used: string[]];

type PoolRows = ReadonlyMap<number, PoolRow>;

export const readPools = (send: Send, ids: readonly number[], count: number): Promise<PoolRow[]> =>
  send<PoolRow>(POOLS, toArray(ids), count + SLACK);

/**
 * Finds never-used offsets of a subnet, whose pools may be thousands: it reads the first ones that have room as far as
 * this replica knows, and further ones only when other replicas have exhausted these.
 */
export class FreshSearch {
  readonly subnet: SubnetRecord;
  readonly #count: number;
  #pools: Pool[] = [];
  /** The index of the first range not selected. */
  #end = 0;
  /** True if all pools together have too little room. Cursors only grow, so that the database has no more. */
  readonly isExhausted: boolean;

  constructor(subnet: SubnetRecord, count: number) {
    this.subnet = subnet;
    this.#count = count;
    this.isExhausted = this.#select(count + SLACK) < BigInt(count);
  }

  get firstPoolIds(): number[] {
    return this.#pools.map(({ id }) => id);
  }

  /** Selects the next pools with room for so many addresses. Returns their room. */
  #select(count: number): bigint {
    const { ranges } = this.subnet;
    let room = 0n;
    this.#pools = [];
    for (; this.#end < ranges.length && room < BigInt(count); this.#end++) {
      const pool = ranges[this.#end];
      if (!pool || pool.cursor > pool.last) continue;
      this.#pools.push(pool);
      room += pool.last - pool.cursor + 1n;
    }
    return room;
  }

  /** Updates the cursors of the catalog. @param first has the rows of the first pools */
  async load(send: Send, first: PoolRows): Promise<FreshRun[]> {
    const runs: FreshRun[] = [];
    let missing = this.#count;
    let rowOf = first;
    for (let size = (this.#count + SLACK) * 2; missing > 0 && this.#pools.length > 0; size *= 2) {
      for (const pool of this.#pools) {
        if (missing <= 0) break;
        const offsets = await this.#loadRun(send, pool, rowOf.get(pool.id), missing);
        runs.push({ pool, offsets });
        missing -= offsets.length;
      }
      if (missing <= 0) break;
      this.#select(size);
      if (this.#pools.length > 0) {
        const rows = await readPools(send, this.firstPoolIds, this.#count);
        rowOf = new Map(rows.map(row => [row[0], row]));
      }
    }
    return runs;
  }

  async #loadRun(
    send: Send,
    pool: Pool,
    [, from, to, used]: PoolRow = [pool.id, null, null, []],
    count: number,
  ): Promise<bigint[]> {
    const { subnet } = this;
    pool.cursor = from === null ? pool.last + 1n : decode(subnet, from);
    const offsets: bigint[] = [];
    let end = to === null ? pool.last : decode(subnet, to);
    addUnused(offsets, subnet, pool.cursor, end, used, count);
    for (let window = BigInt(count + SLACK) * 2n; offsets.length < count && end < pool.last; window *= 2n) {
      const start = end + 1n;
      const size = window > MAX_WINDOW ? MAX_WINDOW : window;
      end = start + size - 1n > pool.last ? pool.last : start + size - 1n;
      const [row] = await send<[used: string[]]>(WINDOW, subnet.id, encode(subnet, start), encode(subnet, end));
      addUnused(offsets, subnet, start, end, row?.[0] ?? [], count);
    }
    return offsets;
  }
}

function addUnused(
  offsets: bigint[],
  subnet: SubnetRecord,
  start: bigint,
  end: bigint,
  stored: readonly string[],
  count: number,
): void {
  const used = new Set(stored.map(text => decode(subnet, text)));
  for (let offset = start; offset <= end && offsets.length < count; offset++) {
    if (!used.has(offset)) offsets.push(offset);
  }
}

const encode = ({ cidr }: SubnetRecord, offset: bigint): bigint => encodeOffset(cidr.version, offset);
const decode = ({ cidr }: SubnetRecord, stored: string): bigint => decodeOffset(cidr.version, stored);
