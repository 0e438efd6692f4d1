import assert from "node:assert/strict";
import { IpamError, type NetworkManifest, type SubnetSpec } from "../../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../../ipam-server/domain/store.ts";
import { network } from "../builders.ts";
import type { Random } from "../random.ts";
import type { Model } from "./model.ts";

/** One place of the fabric, and the ways in which its network is declared: narrower, wider, with more or less families. */
interface Site {
  name: string;
  vlan: number;
  ways: SubnetSpec[][];
}

const SMALL = { gateway: "10.0.0.1", pools: ["10.0.0.4-10.0.0.12"], exclude: ["10.0.0.8"] };
const UPPER = "fd00:4::8000:0:0:0-fd00:4::8000:0:0:3";

const SITES: readonly Site[] = [
  {
    name: "small",
    vlan: 10,
    ways: [
      [{ cidr: "10.0.0.0/28", ...SMALL }],
      [{ cidr: "10.0.0.0/27", ...SMALL, pools: [...SMALL.pools, "10.0.0.18-10.0.0.19"] }],
      [{ cidr: "10.0.0.0/28", ...SMALL }, { cidr: "fd00:1::/125" }],
      [{ cidr: "10.0.0.0/29" }],
      [],
    ],
  },
  {
    name: "pair",
    vlan: 11,
    ways: [
      [{ cidr: "10.0.1.0/31" }, { cidr: "10.0.2.8/29" }],
      [{ cidr: "10.0.1.0/30" }, { cidr: "10.0.2.0/28" }],
      [{ cidr: "10.0.2.8/29" }],
    ],
  },
  {
    name: "dual",
    vlan: 12,
    ways: [
      [{ cidr: "10.0.3.0/29" }, { cidr: "fd00:3::/125", gateway: "fd00:3::1" }],
      [{ cidr: "10.0.3.0/28" }, { cidr: "fd00:3::/124", gateway: "fd00:3::1" }],
      [{ cidr: "fd00:3::/125" }],
      [{ cidr: "10.0.3.0/29" }],
    ],
  },
  {
    name: "six",
    vlan: 13,
    ways: [
      [{ cidr: "fd00:4::/64", pools: [UPPER, "fd00:4::10-fd00:4::11"] }],
      [{ cidr: "fd00:4:0:0:8000::/65", pools: [UPPER] }],
    ],
  },
];

/** Another segment for a site, on which its addresses have no history. */
const OTHER_SEGMENT = 10;

/** Small pools of every kind: more names than addresses, so that they are nearly always full. */
const CROWDED_NETWORKS = SITES.map(site => declare(site, site.name, site.vlan, site.ways[0] ?? []));

function declare(site: Site, name: string, vlan: number, subnets: SubnetSpec[]): NetworkManifest {
  return network(name, vlan, subnets, { nodeLease: { size: 4, low: 2 } }, { env: "test", site: site.name });
}

/** Declares all as at the start, with no port left. */
export async function declareAgain(store: Store, model: Model, now: number): Promise<void> {
  await drain(store, model, [...model.book.networks.keys()], now);
  for (const name of [...model.book.networks.keys()]) await remove(store, model, name);
  for (const manifest of CROWDED_NETWORKS) await put(store, model, manifest);
}

/** Changes one site: removes its network, or declares it another way, under another name or on another segment. */
export async function changeDeclaration(random: Random, store: Store, model: Model, now: number): Promise<void> {
  const missing = SITES.filter(site => declaredAt(site, model) === undefined);
  const site = random.pick(missing.length > 0 && random.chance(0.5) ? missing : SITES);
  const present = declaredAt(site, model);
  const segment = site.vlan + (random.chance(0.15) ? OTHER_SEGMENT : 0);
  if (present === undefined) {
    const name = random.chance(0.5) ? site.name : `${site.name}-again`;
    await put(store, model, declare(site, name, segment, random.pick(site.ways)));
    return;
  }
  const { name } = present.metadata;
  if (random.chance(0.6)) await drain(store, model, [name], now);
  if (random.chance(0.4)) await remove(store, model, name);
  else await put(store, model, declare(site, name, segment, random.pick(site.ways)));
}

const declaredAt = ({ name }: Site, { book }: Model): NetworkManifest | undefined =>
  [...book.networks.values()].find(({ metadata }) => metadata.labels?.site === name);

/** Ends every port of the networks, as their owners and people do. */
async function drain(store: Store, model: Model, networks: readonly string[], now: number): Promise<void> {
  const items: Mutation[] = [];
  for (const [name, port] of model.ports) {
    if (!networks.includes(port.network)) continue;
    for (const binding of [port, port.inactive]) {
      if (binding?.host === undefined) continue;
      const { host, ownerUid = "", sandboxId } = binding;
      const sandbox = sandboxId === undefined ? undefined : { id: sandboxId, interface: "eth0" };
      items.push({ kind: "release", caller: "test", release: { name, host, ownerUid, ...(sandbox && { sandbox }) } });
    }
    items.push({ kind: "deletePort", name, caller: "test" });
  }
  if (items.length > 0) model.apply(items, await store.commit(items), now);
  assert.ok(![...model.ports.values()].some(({ network }) => networks.includes(network)), "a port was not deleted");
}

async function put(store: Store, model: Model, manifest: NetworkManifest): Promise<void> {
  const { name } = manifest.metadata;
  if (await isAccepted(store.putNetwork(manifest, "test"), name, model)) model.declare(manifest);
}

async function remove(store: Store, model: Model, name: string): Promise<void> {
  if (!(await isAccepted(store.deleteNetwork(name, "test"), name, model))) return;
  assert.ok(!model.hasPortsOn(name), `network ${name} was deleted under its ports`);
  model.book.networks.delete(name);
}

/** A change is refused only for ports in its way. */
async function isAccepted(change: Promise<unknown>, name: string, model: Model): Promise<boolean> {
  try {
    await change;
    return true;
  } catch (error) {
    if (!(error instanceof IpamError) || error.code !== "conflict" || !model.hasPortsOn(name)) throw error;
    return false;
  }
}
