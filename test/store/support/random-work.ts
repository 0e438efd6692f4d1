import { LEASE_PREFIX } from "../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import { bornAt, claim, leaseClaim, network, release } from "./builders.ts";
import type { Model } from "./model.ts";
import type { Random } from "./random.ts";

/** Small pools of every kind: more names than addresses, so that they are nearly always full. */
export const CROWDED_NETWORKS = [
  network("small", 10, [
    { cidr: "10.0.0.0/28", gateway: "10.0.0.1", pools: ["10.0.0.4-10.0.0.12"], exclude: ["10.0.0.8"] },
  ]),
  network("pair", 11, [{ cidr: "10.0.1.0/31" }, { cidr: "10.0.2.0/29" }]),
  network("dual", 12, [{ cidr: "10.0.3.0/29" }, { cidr: "fd00:3::/125", gateway: "fd00:3::1" }]),
  network("six", 13, [
    { cidr: "fd00:4::/64", pools: ["fd00:4::8000:0:0:0-fd00:4::8000:0:0:3", "fd00:4::10-fd00:4::11"] },
  ]),
];

for (const { spec } of CROWDED_NETWORKS) spec.nodeLease = { size: 4, low: 2 };

const HOSTS = ["node-a", "node-b", "node-c"];
const NAMES = Array.from({ length: 40 }, (_, index) => `c1/default/pod-${index}`);
const RESERVED = ["db", "queue", "cache"];
const WANTED = [
  "10.0.0.2",
  "10.0.0.5",
  "10.0.0.8",
  "10.0.0.14",
  "10.0.2.3",
  "fd00:3::3",
  "fd00:4::ffff:ffff:ffff:ffff",
];
const STATES = ["BUILD", "ACTIVE", "ERROR"] as const;

/** One random item: a sensible one, a late one, a repeated one, or one that cannot succeed. */
export function makeItem(random: Random, model: Model, serial: number): Mutation {
  const roll = random.next();
  if (roll < 0.08) return makeLease(random, serial);
  if (roll < 0.16) return takeLease(random, model, serial);
  if (roll < 0.45) return makeClaim(random, serial);
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
    const reservation = { networkSelector: "env=test", allowedNamespaces: random.chance(0.8) ? ["*"] : ["c2/*"] };
    return { kind: "reserve", caller: "test", name: random.pick(RESERVED), reservation };
  }
  return { kind: "deletePort", caller: "test", name };
}

function makeClaim(random: Random, serial: number): Mutation {
  const reserved = random.chance(0.1);
  const name = random.pick(reserved ? RESERVED : NAMES);
  const uid = `u${serial}`;
  const item = claim(name, random.pick(HOSTS), uid, {
    owner: bornAt(uid, random.chance(0.1) ? serial - 50 : serial),
    cluster: "c1",
    namespace: "default",
    ...(reserved && { nameFrom: "reserved" }),
    ...(random.chance(0.4) && { retention: { policy: "sticky" } }),
    ...(random.chance(0.15) && { ips: [random.pick(WANTED)] }),
    ...(random.chance(0.1) && { mac: `02:00:00:00:00:0${random.below(6)}` }),
    ...(random.chance(0.2) && { families: [random.pick(["ipv4", "ipv6"] as const)] }),
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
  const owner = bornAt(uid, random.chance(0.1) ? serial - 50 : serial);
  const from = { cluster: "c1", namespace: "default", owner, migration: { id: `m${serial}` } };
  const item = claim(name, host, uid, from);
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
  const preclaimed = [...model.ports].filter(([name, { host, sandboxId, sticky }]) => {
    return NAMES.includes(name) && host !== undefined && sandboxId === undefined && !sticky;
  });
  const ofSameHost = leases.filter(([, lease]) => preclaimed.some(([, { host }]) => host === lease.host));
  const [leasedPort, { host = "" }] = random.pick(ofSameHost.length > 0 ? ofSameHost : leases);
  const late = random.chance(0.1) ? "lease:node-a/0" : leasedPort;
  const at = random.chance(0.1) ? random.pick(HOSTS) : host;
  if (random.chance(0.4)) {
    // By a pod that has a port there: pre-claimed, or assigned before.
    const ofHost = [...model.ports].filter(([name, port]) => NAMES.includes(name) && port.host === at);
    const own = preclaimed.filter(([, port]) => port.host === at);
    const [name, { ownerUid = "" }] = random.pick(own.length > 0 ? own : ofHost.length > 0 ? ofHost : leases);
    return claim(name, at, ownerUid, { leasedPort: late, cluster: "c1", namespace: "default" });
  }
  return claim(random.pick(NAMES), at, `u${serial}`, { leasedPort: late, cluster: "c1", namespace: "default" });
}

/** What a runtime does that did not get its answer. */
function repeatClaim(random: Random, model: Model, serial: number): Mutation {
  const bound = [...model.ports].filter(([, port]) => port.sandboxId !== undefined);
  if (bound.length === 0) return makeClaim(random, serial);
  const [name, { host = "", sandboxId = "", ownerUid = "" }] = random.pick(bound);
  const from = { cluster: "c1", namespace: "default" };
  return claim(name, host, ownerUid, { sandbox: { id: sandboxId, interface: "eth0" }, ...from });
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
