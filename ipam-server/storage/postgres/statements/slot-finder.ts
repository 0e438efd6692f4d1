import { type SlotNeed, slotSeries } from "../../../domain/model/slots.ts";
import { toArray } from "../database/array-literal.ts";
import { prepare, type Send } from "../database/statement.ts";

const SLOT_LOCK_SPACE = 0x53_6c_6f_74;

/** Keeps two replicas from choosing slots of one application at once. Locks are acquired in order, against deadlocks. */
const LOCK_SERIES = prepare(
  `SELECT pg_advisory_xact_lock(${SLOT_LOCK_SPACE}, number) FROM
     (SELECT DISTINCT hashtext(series) AS number FROM unnest($1::text[]) AS wanted (series) ORDER BY 1) AS numbers`,
);
const OF_OWNERS = prepare("SELECT name FROM ports WHERE slot_of = $1 AND owner_uid = ANY ($2::text[])");
const UNBOUND = prepare(
  `SELECT name FROM ports WHERE slot_of = $1 AND host IS NULL AND network_id = ANY ($2::int[]) ORDER BY slot LIMIT $3::int`,
);
const UNBOUND_ANYWHERE = prepare(
  "SELECT name FROM ports WHERE slot_of = $1 AND host IS NULL ORDER BY slot LIMIT $2::int",
);
/** Skips names that another port has. Starts at the end of an application without gaps. */
const VACANT = prepare(
  `SELECT number FROM (
     SELECT generate_series(
       (SELECT CASE WHEN count(*) = max(slot) + 1 THEN count(*) ELSE 0 END FROM ports WHERE slot_of = $1),
       4294967295) AS number) AS numbers
   WHERE NOT EXISTS (SELECT FROM ports WHERE slot_of = $1 AND slot = number)
     AND NOT EXISTS (SELECT FROM ports WHERE name = $2::text || number || $3::text) LIMIT $4::int`,
);

interface FoundSlots {
  /** Names of slots that the batch may claim. */
  names: string[];
  /** See `Snapshot.vacantSlots`. */
  vacant: Map<string, number[]>;
}

export const NO_SLOTS: FoundSlots = { names: [], vacant: new Map() };

/** Reads only the slots that the batch may claim; see SQLite's slot-finder.ts. */
export async function findSlots(send: Send, needs: readonly SlotNeed[]): Promise<FoundSlots> {
  const locked = send(LOCK_SERIES, toArray(needs.map(({ slotOf }) => slotSeries(slotOf))));
  const [, ...found] = await Promise.all([locked, ...needs.map(need => findSlotsOf(send, need))]);
  return {
    names: found.flatMap(({ names }) => names),
    vacant: new Map(found.map(({ series, vacant }) => [series, vacant])),
  };
}

async function findSlotsOf(send: Send, { slotOf, ownerUids, networkSets, count }: SlotNeed) {
  const series = slotSeries(slotOf);
  const after = slotOf.interface === undefined ? "" : `/${slotOf.interface}`;
  const [vacant, ...names] = await Promise.all([
    send<[number: number]>(VACANT, series, `${slotOf.application}/`, after, count),
    send<[name: string]>(OF_OWNERS, series, toArray([...new Set(ownerUids)])),
    ...networkSets.map(networks =>
      networks
        ? send<[name: string]>(UNBOUND, series, toArray(networks), count)
        : send<[name: string]>(UNBOUND_ANYWHERE, series, count),
    ),
  ]);
  return { series, vacant: vacant.map(([number]) => number), names: names.flat().map(([name]) => name) };
}
