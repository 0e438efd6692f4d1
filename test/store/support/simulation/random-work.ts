import { LEASE_PREFIX } from "../../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../../ipam-server/domain/model/mutation.ts";
import { bornAt, claim, leaseClaim, release } from "../builders.ts";
import type { Random } from "../random.ts";
import { type Bearer, makeBearer, SORTS } from "./bearers.ts";
import type { Model } from "./model.ts";

const HOSTS = ["node-a", "node-b", "node-c"];
const NAMES = Array.from({ length: 40 }, (_, index) => `c${1 + (index % 2)}/default/pod-${index}`);
const RESERVED = ["db", "queue", "cache"];
const WANTED = [
  "10.0.0.2",
  "10.0.0.5",
  "10.0.0.8",
  "10.0.0.14",
  "10.0.2.11",
  "fd00:3::3",
  "fd00:4::ffff:ffff:ffff:ffff",
];
/** About how much time passes between two items. */
const SECONDS_AN_ITEM = 0.2;
const STATES = ["BUILD", "ACTIVE", "ERROR"] as const;

/** One random item: a sensible one, a late one, a repeated one, or one that cannot succeed. */
export function makeItem(random: Random, model: Model, serial: number): Mutation {
  const roll = random.next();
  if (roll < 0.08) return makeLease(random, serial);
  if (roll < 0.16) return takeLease(random, model, serial);
  if (roll < 0.45) return makeClaim(random, model, serial);
  if (roll < 0.5) return repeatClaim(random, model, serial);
  if (roll < 0.6) return claimForMigration(random, model, serial);
  if (roll < 0.65) return activate(random, model);
  if (roll < 0.85) return makeRelease(random, model, serial);
  const name = random.pick([...NAMES, ...RESERVED]);
  if (roll < 0.92) {
    const epoch = (model.ports.get(name)?.epoch ?? 1) - (random.chance(0.2) ? 1 : 0);
    return { kind: "report", caller: "test", report: { name, epoch, plane: "underlay", state: random.pick(STATES) } };
  }
  if (roll < 0.96) {
    const allowed = random.pick([["*"], ["*"], ["c2/*"], ["c1/default", "c2/default"], []]);
    const reservation = { networkSelector: "env=test", ...(allowed.length > 0 && { allowedNamespaces: allowed }) };
    return { kind: "reserve", caller: "test", name: random.pick(RESERVED), reservation };
  }
  return { kind: "deletePort", caller: "test", name };
}

/** An owner of the name: nearly always of the sort that has had it, or of one that has this name by its place. */
function makeOwner(random: Random, model: Model, name: string, serial: number): Bearer {
  const uid = `u${serial}`;
  const seconds = (random.chance(0.1) ? serial - 50 : serial) * SECONDS_AN_ITEM;
  const isReserved = RESERVED.includes(name);
  const cluster = isReserved ? random.pick(["c1", "c2"]) : name.slice(0, 2);
  const former = model.ports.get(name)?.bearer;
  if (former && random.chance(0.8)) {
    return { ...former, owner: { ...bornAt(uid, seconds), kind: former.owner.kind }, cluster };
  }
  const usual = SORTS[NAMES.indexOf(name) % SORTS.length];
  const { nameFrom, ...sort } = usual && random.chance(0.7) ? usual : random.pick(SORTS);
  const source = isReserved && random.chance(0.8) ? "reserved" : nameFrom;
  return makeBearer({ ...sort, ...(source && { nameFrom: source }) }, cluster, uid, seconds);
}

function makeClaim(random: Random, model: Model, serial: number): Mutation {
  const name = random.pick(random.chance(0.1) ? RESERVED : NAMES);
  const own = model.ports.get(name)?.addresses;
  const wanted = own && random.chance(0.3) ? own : [random.pick(WANTED)];
  const ttl = random.chance(0.5) ? { ttlSeconds: random.pick([60, 600]) } : {};
  const families = random.pick([["ipv4"], ["ipv6"], ["ipv4", "ipv6"]] as const);
  const item = claim(name, random.pick(HOSTS), `u${serial}`, {
    ...makeOwner(random, model, name, serial),
    ...(random.chance(0.6) && {
      retention: random.chance(0.7) ? { policy: "sticky", ...ttl } : { policy: "ephemeral" },
    }),
    ...(random.chance(0.15) && { ips: wanted }),
    ...(random.chance(0.1) && { mac: `02:00:00:00:00:0${random.below(6)}` }),
    ...(random.chance(0.2) && { families: [...families] }),
    ...(random.chance(0.3) && { onMismatch: "reallocate" }),
  });
  // A pre-claim.
  if (item.kind === "claim" && random.chance(0.2)) delete item.claim.sandbox;
  return item;
}

/** A migration's target: of a bound port, of another, again, or after it has become ACTIVE. */
function claimForMigration(random: Random, model: Model, serial: number): Mutation {
  const bound = [...model.ports].filter(([name, { host }]) => NAMES.includes(name) && host !== undefined);
  const name = bound.length === 0 || random.chance(0.1) ? random.pick(NAMES) : random.pick(bound)[0];
  const { inactive } = model.ports.get(name) ?? {};
  const uid = inactive && random.chance(0.4) ? inactive.ownerUid : `u${serial}`;
  const host = inactive && random.chance(0.7) ? inactive.host : random.pick(HOSTS);
  const bearer = inactive?.ownerUid === uid ? inactive.bearer : makeOwner(random, model, name, serial);
  const item = claim(name, host, uid, { ...bearer, migration: { id: `m${serial}` } });
  if (item.kind === "claim" && random.chance(0.2)) delete item.claim.sandbox;
  return item;
}

function activate(random: Random, model: Model): Mutation {
  const migrating = [...model.ports].filter(([, { inactive }]) => inactive !== undefined);
  const [name, { inactive }] =
    migrating.length > 0 ? random.pick(migrating) : random.pick([...model.ports, ["none", {}] as never]);
  const host = inactive && random.chance(0.9) ? inactive.host : random.pick(HOSTS);
  const epoch = (inactive?.epoch ?? 1) - (random.chance(0.1) ? 1 : 0);
  return { kind: "activate", activation: { name, host, ...(random.chance(0.7) && { epoch }) }, caller: "test" };
}

function makeLease(random: Random, serial: number): Mutation {
  return leaseClaim(random.pick(HOSTS), String(random.chance(0.2) ? random.below(serial) : serial));
}

/** Assigns a lease: by its own host or another, in time or after it was returned. */
function takeLease(random: Random, model: Model, serial: number): Mutation {
  const leases = [...model.ports].filter(([name]) => name.startsWith(LEASE_PREFIX));
  if (leases.length === 0) return makeLease(random, serial);
  const preclaimed = [...model.ports].filter(([name, { host, sandboxId, retention }]) => {
    return NAMES.includes(name) && host !== undefined && sandboxId === undefined && retention.policy === "ephemeral";
  });
  const ofSameHost = leases.filter(([, lease]) => preclaimed.some(([, { host }]) => host === lease.host));
  const [leasedPort, { host = "" }] = random.pick(ofSameHost.length > 0 ? ofSameHost : leases);
  const late = random.chance(0.1) ? "lease:node-a/0" : leasedPort;
  const at = random.chance(0.1) ? random.pick(HOSTS) : host;
  if (random.chance(0.4)) {
    // By a pod that has a port there: pre-claimed, or assigned before.
    const ofHost = [...model.ports].filter(([name, port]) => NAMES.includes(name) && port.host === at);
    const own = preclaimed.filter(([, port]) => port.host === at);
    const [name, { ownerUid = "", bearer }] = random.pick(own.length > 0 ? own : ofHost.length > 0 ? ofHost : leases);
    return claim(name, at, ownerUid, { ...bearer, leasedPort: late });
  }
  const name = random.pick(NAMES);
  const uid = `u${serial}`;
  return claim(name, at, uid, {
    ...makeBearer({ kind: "pod" }, name.slice(0, 2), uid, serial * SECONDS_AN_ITEM),
    leasedPort: late,
  });
}

/** What a runtime does that did not get its answer. */
function repeatClaim(random: Random, model: Model, serial: number): Mutation {
  const bound = [...model.ports].filter(([, port]) => port.sandboxId !== undefined);
  if (bound.length === 0) return makeClaim(random, model, serial);
  const [name, { host = "", sandboxId = "", ownerUid = "", bearer }] = random.pick(bound);
  const sandbox = { id: sandboxId, interface: "eth0" };
  return claim(name, host, ownerUid, { ...bearer, sandbox });
}

function makeRelease(random: Random, model: Model, serial: number): Mutation {
  const migrating = [...model.ports].filter(([, { inactive }]) => inactive !== undefined);
  if (migrating.length > 0 && random.chance(0.15)) {
    const [name, { inactive }] = random.pick(migrating);
    const { host = "", sandboxId, ownerUid = "" } = inactive ?? {};
    if (sandboxId !== undefined) return release(host, sandboxId, { name });
    return { kind: "release", caller: "test", release: { name, host, ownerUid } };
  }
  const bound = [...model.ports].filter(([, port]) => port.host !== undefined);
  if (bound.length === 0 || random.chance(0.15)) {
    return release(random.pick(HOSTS), `u${random.below(serial + 1)}`, { name: random.pick(NAMES) });
  }
  const [name, port] = random.pick(bound);
  const { host = "", sandboxId, ownerUid = "" } = port;
  if (sandboxId !== undefined) return release(host, sandboxId, { name });
  return { kind: "release", caller: "test", release: { name, host, ownerUid } };
}
