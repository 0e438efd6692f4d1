import { FIRST_SCHEMA } from "../schema/first-schema.ts";

export interface Migration {
  version: number;
  name: string;
  /**
   * The oldest program, by its newest migration, that works with the tables after this one. During a rolling upgrade both
   * run: an addition may keep the previous value, a removal may not.
   */
  oldestProgram: number;
  sql: string;
}

/**
 * The schema's history: SQLite's tables, and those that several replicas need. Each entry is applied once, in order.
 * Never change a released entry: add another. Units are SQLite's; texts compare byte by byte (collation C), as in SQLite.
 */
export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: "networks, ports, events",
    oldestProgram: 1,
    sql: FIRST_SCHEMA,
  },
  {
    version: 2,
    name: "node leases",
    oldestProgram: 1,
    sql: "ALTER TABLE networks ADD COLUMN node_lease text;",
  },
  {
    version: 3,
    name: "floors",
    // The new columns stay 0 until a restore or an import, during which no older program runs.
    oldestProgram: 1,
    sql: `
-- Of a database restored from a backup, or imported: see DecisionContext.minimumEpoch.
ALTER TABLE catalog_state ADD COLUMN epoch_floor bigint NOT NULL DEFAULT 0;
-- Grows at each import: blocks of port keys that replicas reserved before are void.
ALTER TABLE catalog_state ADD COLUMN generation bigint NOT NULL DEFAULT 0;
-- A reader of events that was not there yet has to compare everything.
ALTER TABLE event_counter ADD COLUMN floor bigint NOT NULL DEFAULT 0;
`,
  },
  {
    version: 4,
    name: "leadership",
    oldestProgram: 1,
    sql: `
-- Which replica does what only one at a time may do, and until when unless it renews. No term is given twice.
CREATE TABLE leadership (
  only_row smallint PRIMARY KEY CHECK (only_row = 1),
  term bigint NOT NULL,
  holder uuid,
  until timestamptz NOT NULL
) WITH (fillfactor = 10);
INSERT INTO leadership VALUES (1, 0, NULL, '-infinity');
`,
  },
  {
    version: 5,
    name: "where names come from",
    oldestProgram: 1,
    sql: "ALTER TABLE ports ADD COLUMN name_from text;",
  },
  {
    version: 6,
    name: "cooling addresses of removed subnets",
    oldestProgram: 1,
    sql: `
-- What waits out the reuse delay in a subnet that is no longer declared. segment: see segmentKey; ip_offset: of that
-- subnet.
CREATE TABLE cooling (
  segment text NOT NULL,
  cidr text NOT NULL,
  ip_offset bigint NOT NULL,
  freed_at bigint NOT NULL,
  last_port text NOT NULL,
  PRIMARY KEY (segment, cidr, ip_offset)
);
`,
  },
  {
    version: 7,
    name: "database history",
    oldestProgram: 1,
    sql: `
-- Which history of which PostgreSQL the tables belong to: see database-history.ts.
CREATE TABLE database_history (
  only_row smallint PRIMARY KEY CHECK (only_row = 1),
  system_id text NOT NULL,
  table_oid oid NOT NULL,
  timeline integer NOT NULL,
  history uuid NOT NULL
);
`,
  },
  {
    version: 8,
    name: "clusters",
    oldestProgram: 1,
    // uid: of its namespace kube-system. held_pass: JSON; NULL while the controller holds no pass.
    sql: `CREATE TABLE clusters (
  name text COLLATE "C" PRIMARY KEY, uid text COLLATE "C" NOT NULL UNIQUE, registered_at bigint NOT NULL, held_pass text
);`,
  },
  {
    version: 9,
    name: "inactive bindings",
    // An older program keeps the columns as they are, and activates nothing.
    oldestProgram: 1,
    sql: `
-- The highest epoch of any binding; null: that of the port.
ALTER TABLE ports ADD COLUMN last_epoch bigint;
ALTER TABLE ports ADD COLUMN inactive_host text COLLATE "C";
-- The INACTIVE binding as JSON.
ALTER TABLE ports ADD COLUMN inactive text;
CREATE INDEX ports_inactive ON ports (inactive_host) WHERE inactive_host IS NOT NULL;
`,
  },
  {
    version: 10,
    name: "recovery after a restore",
    oldestProgram: 1,
    // JSON, see RecoveryState; NULL while there is none.
    sql: "ALTER TABLE catalog_state ADD COLUMN recovery text;",
  },
  {
    version: 11,
    name: "releases on record, and conflicts",
    oldestProgram: 1,
    sql: `UPDATE ports SET fenced = 0; -- Of earlier releases nothing is known.
ALTER TABLE freed ADD released smallint NOT NULL DEFAULT 0, ADD conflict_mac bigint, ADD conflict_host text;
CREATE INDEX freed_conflict ON freed (subnet_id, ip_offset) WHERE conflict_mac IS NOT NULL;`,
  },
  {
    version: 12,
    name: "retention by workload",
    oldestProgram: 1,
    // JSON: the times of ports and networks, and whether the workload needs the port.
    sql: "ALTER TABLE ports ADD keep text; ALTER TABLE networks ADD retention text;",
  },
  {
    version: 13,
    name: "size of the history",
    oldestProgram: 1,
    // What an event takes, and all of them: see sizeOfEvent. The default is that of events of older programs.
    sql: `ALTER TABLE events ADD COLUMN bytes integer NOT NULL DEFAULT 600;
      ALTER TABLE event_counter ADD COLUMN event_bytes bigint NOT NULL DEFAULT 0;
      UPDATE event_counter SET event_bytes = 600 * (SELECT count(*) FROM events);`,
  },
  {
    version: 14,
    name: "attempts of sandboxes",
    // An older program leaves the time of an earlier binding, which then orders fewer sandboxes.
    oldestProgram: 1,
    sql: "ALTER TABLE ports ADD COLUMN attempted_at bigint;",
  },
];
