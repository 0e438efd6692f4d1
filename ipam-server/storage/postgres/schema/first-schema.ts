/** The tables of the first version. Never change them: add a migration. */
export const FIRST_SCHEMA = `
-- Grows with every change of networks or subnets: a replica whose catalog has another revision reloads it.
CREATE TABLE catalog_state (
  only_row smallint PRIMARY KEY CHECK (only_row = 1),
  revision bigint NOT NULL
);
INSERT INTO catalog_state VALUES (1, 1);

-- Replicas take blocks of keys from here, in transactions of their own.
CREATE TABLE port_keys (
  only_row smallint PRIMARY KEY CHECK (only_row = 1),
  next_port_key bigint NOT NULL
);
INSERT INTO port_keys VALUES (1, 1);

-- Locked from the moment a transaction numbers its events until it has committed: numbers are in order of commits, and
-- who sees one sees all before it.
CREATE TABLE event_counter (
  only_row smallint PRIMARY KEY CHECK (only_row = 1),
  last_seq bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO event_counter VALUES (1, 0);

-- One row a replica: the number of its last committed transaction, by which it learns whether a commit whose answer was
-- lost took place.
CREATE TABLE writers (
  id uuid PRIMARY KEY,
  last_commit bigint NOT NULL,
  seen_at bigint NOT NULL
) WITH (fillfactor = 20);

CREATE TABLE networks (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  labels text NOT NULL,
  vpc text NOT NULL,
  availability_zone text,
  segment text NOT NULL,
  mtu integer NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);

CREATE TABLE subnets (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  network_id integer NOT NULL REFERENCES networks (id),
  position integer NOT NULL,
  cidr text NOT NULL,
  spec text NOT NULL,
  held bigint NOT NULL DEFAULT 0,
  outside bigint NOT NULL DEFAULT 0,
  freed bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);
CREATE INDEX subnets_network ON subnets (network_id);

-- next_offset is the cursor; null: it stands behind the last one.
CREATE TABLE pools (
  id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  subnet_id integer NOT NULL REFERENCES subnets (id),
  first_offset bigint NOT NULL,
  last_offset bigint NOT NULL,
  next_offset bigint
) WITH (fillfactor = 20);
CREATE INDEX pools_subnet ON pools (subnet_id);

CREATE TABLE ports (
  key bigint PRIMARY KEY,
  id text NOT NULL,
  name text COLLATE "C" NOT NULL,
  network_id integer NOT NULL,
  mac bigint NOT NULL,
  labels text,
  sticky smallint NOT NULL,
  ttl_seconds bigint,
  owner_kind text,
  owner_uid text,
  owner_created_at bigint,
  host text COLLATE "C",
  sandbox_id text COLLATE "C",
  sandbox_interface text,
  bound_at bigint,
  reservation text,
  cluster text,
  namespace text,
  workload text,
  epoch bigint NOT NULL,
  underlay text NOT NULL,
  overlay text NOT NULL,
  fenced smallint NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  released_at bigint,
  expires_at bigint,
  -- The application, and after a space the interface that is not eth0.
  slot_of text COLLATE "C",
  slot bigint
);
CREATE UNIQUE INDEX ports_name ON ports (name);
CREATE UNIQUE INDEX ports_mac ON ports (mac, network_id);
-- The start of a sandbox's id distinguishes the few of one host, and keeps the index small.
CREATE INDEX ports_binding ON ports (host, substr(sandbox_id, 1, 12)) WHERE host IS NOT NULL;
CREATE INDEX ports_expiry ON ports (expires_at) WHERE expires_at IS NOT NULL;
CREATE UNIQUE INDEX ports_slot ON ports (slot_of, slot) WHERE slot_of IS NOT NULL;
CREATE INDEX ports_slot_owner ON ports (slot_of, owner_uid) WHERE slot_of IS NOT NULL;
CREATE INDEX ports_slot_unbound ON ports (slot_of, slot, network_id) WHERE slot_of IS NOT NULL AND host IS NULL;

-- The referee: one row an address that is held.
CREATE TABLE fixed_ips (
  subnet_id integer NOT NULL,
  ip_offset bigint NOT NULL,
  port_key bigint NOT NULL,
  PRIMARY KEY (subnet_id, ip_offset)
);
CREATE INDEX fixed_ips_port ON fixed_ips (port_key);

-- pooled: inside an allocation pool, so handed out again; others only wait out the reuse delay here.
CREATE TABLE freed (
  subnet_id integer NOT NULL,
  ip_offset bigint NOT NULL,
  pooled smallint NOT NULL,
  freed_at bigint NOT NULL,
  last_port text NOT NULL,
  PRIMARY KEY (subnet_id, ip_offset)
-- A queue: what was taken from its front must not be stepped over for long.
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX freed_queue ON freed (subnet_id, freed_at, ip_offset) WHERE pooled = 1;
CREATE INDEX freed_unpooled ON freed (subnet_id, freed_at) WHERE pooled = 0;

CREATE TABLE events (
  seq bigint PRIMARY KEY,
  time bigint NOT NULL,
  type text NOT NULL,
  caller text NOT NULL,
  port_key bigint,
  port text COLLATE "C",
  port_id text,
  cluster text,
  network text,
  host text COLLATE "C",
  from_host text COLLATE "C",
  epoch bigint,
  mac bigint,
  addresses text COLLATE "C",
  state text,
  sandbox_id text,
  owner_uid text,
  message text,
  -- What event_identities keeps of it.
  identities text COLLATE "C"
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX events_port ON events (port_key) WHERE port_key IS NOT NULL;

-- By which names, addresses and MACs that ports no longer have their events are found.
CREATE TABLE event_identities (
  value text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  port_key bigint NOT NULL,
  PRIMARY KEY (value, seq)
);
`;
