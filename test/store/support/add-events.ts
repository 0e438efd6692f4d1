import type { Engine, TestDatabase } from "../suite/engine.ts";
import { START } from "./builders.ts";

/** Adds plane reports of a port on host `busy` to the history of a closed store, from number `first` on. */
export async function addEvents({ name }: Engine, database: TestDatabase, first: number, count: number): Promise<void> {
  await database.execute(`
    INSERT INTO events (seq, time, type, caller, port, host, message)
    WITH RECURSIVE added (seq) AS (SELECT ${first} UNION ALL SELECT seq + 1 FROM added WHERE seq < ${first + count - 1})
    SELECT seq, ${START}, 'port.state', 'test', 'filler', 'busy', 'a plane report of a port that is always reported' FROM added`);
  if (name === "PostgreSQL") {
    await database.execute("UPDATE event_counter SET last_seq = (SELECT max(seq) FROM events)");
  }
}
