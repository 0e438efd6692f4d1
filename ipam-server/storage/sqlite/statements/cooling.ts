import type Database from "better-sqlite3";
import type { Segment } from "../../../contract/index.ts";
import type { SubnetDeclaration } from "../../../domain/model/catalog.ts";
import { findCoolingSources, type ReuseTimes, segmentKey } from "../../../domain/networks/cooling.ts";
import { encodeOffset, splitShift } from "../../offset-code.ts";

interface Declared {
  id: number;
  subnet: SubnetDeclaration;
  segment: Segment;
}

/** Freed addresses of subnets that are no longer declared. The caller holds the transaction. */
export class Cooling {
  readonly #database: Database.Database;

  constructor(database: Database.Database) {
    this.#database = database;
  }

  /** Keeps what waits in a subnet that is about to be removed, and forgets what has waited long enough. */
  keep({ id, subnet, segment }: Declared, { now, reuseDelayMs }: ReuseTimes): void {
    const cutoff = now - reuseDelayMs;
    this.#database.prepare("DELETE FROM cooling WHERE freed_at <= ?").run(cutoff);
    this.#database
      .prepare(
        `INSERT INTO cooling (segment, cidr, offset, freed_at, last_port)
         SELECT ?, ?, offset, freed_at, last_port FROM freed WHERE subnet_id = ? AND freed_at > ? AND conflict_mac IS NULL`,
      )
      .run(segmentKey(segment), subnet.cidr.text, id, cutoff);
  }

  /** Moves what still waits to a subnet just declared. Returns how many; those in its pools are yet to be counted. */
  adopt({ id, subnet, segment }: Declared, { now, reuseDelayMs }: ReuseTimes): number {
    const key = segmentKey(segment);
    const former = this.#database
      .prepare<[string], string>("SELECT DISTINCT cidr FROM cooling WHERE segment = ?")
      .pluck()
      .all(key);
    let adopted = 0;
    for (const { cidr, first, last, shift } of findCoolingSources(former, subnet.cidr)) {
      const place = [key, cidr.text, encodeOffset(cidr.version, first), encodeOffset(cidr.version, last)] as const;
      const where = "segment = ? AND cidr = ? AND offset BETWEEN ? AND ?";
      adopted += this.#database
        .prepare(
          `INSERT INTO freed (subnet_id, offset, pooled, freed_at, last_port)
           SELECT ?, offset + ? + ?, 0, min(freed_at, ?), last_port FROM cooling WHERE freed_at > ? AND ${where}`,
        )
        .run(id, ...splitShift(shift), now, now - reuseDelayMs, ...place).changes;
      this.#database.prepare(`DELETE FROM cooling WHERE ${where}`).run(...place);
    }
    return adopted;
  }
}
