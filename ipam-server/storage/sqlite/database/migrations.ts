/**
 * The schema's history. Each entry is applied once, in order, in one transaction. Never change a released entry: add
 * another. Times are milliseconds, MACs 48-bit integers, offsets encoded as in `offset-code.ts`.
 */
export const MIGRATIONS: readonly { version: number; name: string; sql: string }[] = [
  {
    version: 1,
    name: "networks, ports, events",
    sql: `
CREATE TABLE store_state (
  only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
  next_port_key INTEGER NOT NULL,
  opened_at INTEGER NOT NULL
) STRICT;
INSERT INTO store_state VALUES (1, 1, 0);

CREATE TABLE networks (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  labels TEXT NOT NULL,
  vpc TEXT NOT NULL,
  availability_zone TEXT,
  segment TEXT NOT NULL,
  mtu INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE subnets (
  id INTEGER PRIMARY KEY,
  network_id INTEGER NOT NULL REFERENCES networks (id),
  position INTEGER NOT NULL,
  spec TEXT NOT NULL,
  held INTEGER NOT NULL DEFAULT 0,
  outside INTEGER NOT NULL DEFAULT 0,
  freed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX subnets_network ON subnets (network_id);

-- The cursor as how many offsets from the first on it has passed: it may stand one behind the last 64-bit offset.
CREATE TABLE pools (
  id INTEGER PRIMARY KEY,
  subnet_id INTEGER NOT NULL REFERENCES subnets (id),
  first_offset INTEGER NOT NULL,
  last_offset INTEGER NOT NULL,
  passed INTEGER NOT NULL
) STRICT;
CREATE INDEX pools_subnet ON pools (subnet_id);

CREATE TABLE ports (
  key INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  name TEXT NOT NULL UNIQUE,
  network_id INTEGER NOT NULL REFERENCES networks (id),
  mac INTEGER NOT NULL,
  labels TEXT,
  sticky INTEGER NOT NULL,
  ttl_seconds INTEGER,
  owner_kind TEXT,
  owner_uid TEXT,
  owner_created_at INTEGER,
  host TEXT,
  sandbox_id TEXT,
  sandbox_interface TEXT,
  bound_at INTEGER,
  -- See binding-key.ts; null while unbound.
  binding_key INTEGER,
  reservation TEXT,
  cluster TEXT,
  namespace TEXT,
  workload TEXT,
  epoch INTEGER NOT NULL,
  underlay TEXT NOT NULL,
  overlay TEXT NOT NULL,
  fenced INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  released_at INTEGER,
  expires_at INTEGER
) STRICT;
CREATE UNIQUE INDEX ports_mac ON ports (mac, network_id);
CREATE INDEX ports_binding ON ports (binding_key) WHERE binding_key IS NOT NULL;
CREATE INDEX ports_expiry ON ports (expires_at) WHERE expires_at IS NOT NULL;

-- The referee: one row an address that is held.
CREATE TABLE fixed_ips (
  subnet_id INTEGER NOT NULL REFERENCES subnets (id),
  offset INTEGER NOT NULL,
  port_key INTEGER NOT NULL REFERENCES ports (key),
  PRIMARY KEY (subnet_id, offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX fixed_ips_port ON fixed_ips (port_key);

-- pooled: inside an allocation pool, so handed out again; others only wait out the reuse delay here.
CREATE TABLE freed (
  subnet_id INTEGER NOT NULL REFERENCES subnets (id),
  offset INTEGER NOT NULL,
  pooled INTEGER NOT NULL,
  freed_at INTEGER NOT NULL,
  last_port TEXT NOT NULL,
  PRIMARY KEY (subnet_id, offset)
) STRICT, WITHOUT ROWID;
CREATE INDEX freed_queue ON freed (subnet_id, freed_at, offset) WHERE pooled = 1;
CREATE INDEX freed_unpooled ON freed (freed_at) WHERE pooled = 0;

CREATE TABLE events (
  seq INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  type TEXT NOT NULL,
  caller TEXT NOT NULL,
  port_key INTEGER,
  port TEXT,
  port_id TEXT,
  cluster TEXT,
  network TEXT,
  host TEXT,
  from_host TEXT,
  epoch INTEGER,
  mac INTEGER,
  addresses TEXT,
  state TEXT,
  sandbox_id TEXT,
  owner_uid TEXT,
  message TEXT,
  -- What event_identities keeps of it.
  identities TEXT
) STRICT;
CREATE INDEX events_port ON events (port_key) WHERE port_key IS NOT NULL;

-- By which names, addresses and MACs that ports no longer have their events are found.
CREATE TABLE event_identities (
  value TEXT NOT NULL,
  seq INTEGER NOT NULL,
  port_key INTEGER NOT NULL,
  PRIMARY KEY (value, seq)
) STRICT, WITHOUT ROWID;
`,
  },
  {
    version: 2,
    name: "slots",
    sql: `
-- The application, and after a space the interface that is not eth0.
ALTER TABLE ports ADD COLUMN slot_of TEXT;
ALTER TABLE ports ADD COLUMN slot INTEGER;
CREATE UNIQUE INDEX ports_slot ON ports (slot_of, slot) WHERE slot_of IS NOT NULL;
CREATE INDEX ports_slot_owner ON ports (slot_of, owner_uid) WHERE slot_of IS NOT NULL;
CREATE INDEX ports_slot_unbound ON ports (slot_of, slot, network_id) WHERE slot_of IS NOT NULL AND host IS NULL;
`,
  },
  {
    version: 3,
    name: "floors",
    sql: `
-- Of a database restored from a backup, or imported: see DecisionContext.minimumEpoch. Events continue after event_floor, and a
-- reader that was not there yet has to compare everything.
ALTER TABLE store_state ADD COLUMN epoch_floor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE store_state ADD COLUMN event_floor INTEGER NOT NULL DEFAULT 0;
`,
  },
  {
    version: 4,
    name: "node leases",
    sql: "ALTER TABLE networks ADD COLUMN node_lease TEXT;",
  },
  {
    version: 5,
    name: "where names come from",
    sql: "ALTER TABLE ports ADD COLUMN name_from TEXT;",
  },
  {
    version: 6,
    name: "cooling addresses of removed subnets",
    sql: `
-- What waits out the reuse delay in a subnet that is no longer declared. segment: see segmentKey; offset: of that subnet.
CREATE TABLE cooling (
  segment TEXT NOT NULL,
  cidr TEXT NOT NULL,
  offset INTEGER NOT NULL,
  freed_at INTEGER NOT NULL,
  last_port TEXT NOT NULL,
  PRIMARY KEY (segment, cidr, offset)
) STRICT, WITHOUT ROWID;
`,
  },
  {
    version: 7,
    name: "clusters",
    sql: `
CREATE TABLE clusters (
  name TEXT PRIMARY KEY,
  -- Of its namespace kube-system.
  uid TEXT NOT NULL UNIQUE,
  registered_at INTEGER NOT NULL,
  -- JSON; NULL while the controller holds no pass.
  held_pass TEXT
) STRICT, WITHOUT ROWID;
`,
  },
  {
    version: 8,
    name: "inactive bindings",
    sql: `
-- The highest epoch of any binding; null: that of the port.
ALTER TABLE ports ADD COLUMN last_epoch INTEGER;
ALTER TABLE ports ADD COLUMN inactive_host TEXT;
-- The INACTIVE binding as JSON.
ALTER TABLE ports ADD COLUMN inactive TEXT;
CREATE INDEX ports_inactive ON ports (inactive_host) WHERE inactive_host IS NOT NULL;
`,
  },
  {
    version: 9,
    name: "recovery after a restore",
    // JSON, see RecoveryState; NULL while there is none.
    sql: "ALTER TABLE store_state ADD COLUMN recovery TEXT;",
  },
  {
    version: 10,
    name: "releases on record, and conflicts",
    sql: `
-- 1: the last holder was released by its own host. Of earlier releases nothing is known.
ALTER TABLE freed ADD COLUMN released INTEGER NOT NULL DEFAULT 0;
UPDATE ports SET fenced = 0;
-- Set: another machine answers for the address. The row is in no queue, and freed_at says since when.
ALTER TABLE freed ADD COLUMN conflict_mac INTEGER;
ALTER TABLE freed ADD COLUMN conflict_host TEXT;
CREATE INDEX freed_conflict ON freed (subnet_id, offset) WHERE conflict_mac IS NOT NULL;
`,
  },
  {
    version: 11,
    name: "retention by workload",
    sql: `
-- JSON: the port's own times, and whether its workload needs it.
ALTER TABLE ports ADD COLUMN keep TEXT;
ALTER TABLE networks ADD COLUMN retention TEXT;
`,
  },
  {
    version: 12,
    name: "size of the history",
    sql: `
-- What an event takes, and all of them: see sizeOfEvent. The default is that of events from before.
ALTER TABLE events ADD COLUMN bytes INTEGER NOT NULL DEFAULT 400;
ALTER TABLE store_state ADD COLUMN event_bytes INTEGER NOT NULL DEFAULT 0;
UPDATE store_state SET event_bytes = 400 * (SELECT count(*) FROM events);
`,
  },
  {
    version: 13,
    name: "attempts of sandboxes",
    sql: "ALTER TABLE ports ADD COLUMN attempted_at INTEGER;",
  },
];
