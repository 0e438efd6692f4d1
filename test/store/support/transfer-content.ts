import type { ImportResponse, TransferEnd } from "../../../ipam-server/contract/index.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import type { TransferRow } from "../../../ipam-server/domain/transfer/transfer.ts";
import { TransferDigest } from "../../../ipam-server/domain/transfer/transfer-digest.ts";
import { attach, type Clock, claim, network, release, slotClaim } from "./builders.ts";

/** Networks of every shape, for ports of every kind. */
export const NETWORKS = [
  network(
    "dual",
    10,
    [
      {
        cidr: "10.0.0.0/24",
        gateway: "10.0.0.1",
        pools: ["10.0.0.10-10.0.0.19", "10.0.0.100-10.0.0.109"],
        exclude: ["10.0.0.12", "10.0.0.104-10.0.0.105"],
        routes: [{ dst: "10.0.0.0/8", gw: "10.0.0.1" }, { dst: "192.0.2.0/24" }],
        dns: { nameservers: ["10.0.0.53"], search: ["example.com"] },
      },
      { cidr: "fd00:10::/64", gateway: "fd00:10::1" },
    ],
    { vpc: "blue", availabilityZone: "az1", mtu: 1400 },
    { tier: "web", env: "dual", a: "1" },
  ),
  network("flat", 0, [{ cidr: "10.1.0.0/29" }], { segment: { type: "flat", physicalNetwork: "physnet2" } }),
  network("six", 12, [{ cidr: "fd00:12::/64" }, { cidr: "fd00:13::/127" }], {}, { env: "six" }),
  network("unused", 13, [], {}, { env: "none" }),
];

/** The workload of port c1/default/web-0. */
export const WEB_SET = { kind: "StatefulSet", namespace: "default", name: "web", uid: "u", ordinal: 0 } as const;

/** Ports of every kind, and addresses in every state; on the flat network all that was never used is used up. */
export async function fill(store: Store, clock: Clock): Promise<void> {
  for (const manifest of NETWORKS) await store.putNetwork(manifest, "test");
  const dual = { networkSelector: "env=dual" };
  await attach(
    store,
    claim("c1/default/web-0", "a", "s1", {
      ...dual,
      labels: { z: "1", b: "2", app: "web" },
      workload: WEB_SET,
      attemptedAt: new Date(clock.now).toISOString(),
    }),
  );
  await attach(
    store,
    claim("vm", "b", "s2", {
      ...dual,
      ips: ["10.0.0.200"],
      mac: "02:00:00:00:00:07",
      retention: { policy: "sticky", ttlSeconds: 3600 },
    }),
  );
  await attach(
    store,
    claim("moved", "a", "s3", { ...dual, cluster: "c1", namespace: "default", retention: { policy: "sticky" } }),
  );
  await attach(store, claim("moved", "b", "s4", { ...dual, retention: { policy: "sticky" } }));
  await store.commit([
    { kind: "report", caller: "test", report: { name: "moved", epoch: 2, plane: "underlay", state: "ACTIVE" } },
  ]);
  await store.commit([release("b", "s2")]);
  // In a migration, and after one that was cancelled.
  for (const name of ["migrating", "cancelled"]) {
    await attach(store, claim(name, "a", `${name}-a`, dual));
    await attach(
      store,
      claim(name, "b", `${name}-b`, {
        ...dual,
        migration: { id: "m1" },
        attemptedAt: new Date(clock.now).toISOString(),
      }),
    );
  }
  await store.commit([release("b", "cancelled-b")]);
  await attach(store, claim("six-1", "a", "s5", { networkSelector: "env=six" }));
  await attach(store, slotClaim("c1/default/app", "a", "s6", dual));
  await attach(
    store,
    slotClaim("c1/default/app", "a", "s7", { ...dual, slotOf: { application: "c1/default/app", interface: "net1" } }),
  );
  await store.commit([
    {
      kind: "reserve",
      name: "db",
      caller: "test",
      reservation: {
        networkSelector: "env=dual",
        ips: ["10.0.0.77"],
        allowedNamespaces: ["c1/*"],
        deviceOwner: "baremetal:node",
      },
    },
  ]);
  for (const uid of ["f1", "f2", "f3", "f4", "f5", "f6"]) await attach(store, claim(uid, "a", uid));
  for (const uid of ["f4", "f2", "f5"]) {
    clock.pass(1000);
    await store.commit([release("a", uid)]);
  }
  for (const [name, uid] of [["c1", "uid-1"] as const, ["c2", "uid-2"] as const]) {
    await store.changeCluster(name, { kind: "register", registration: { uid } }, "test");
  }
  // Of subnets that are no longer declared, on two segments.
  const gone = [{ cidr: "10.5.0.0/29" }, { cidr: "fd00:0:0:5:8000::/125" }];
  for (const [name, vlan] of [["past", 9] as const, ["former", 14] as const]) {
    await store.putNetwork(network(name, vlan, gone, {}, { env: name }), "test");
    await attach(store, claim(name, "a", name, { networkSelector: `env=${name}` }));
    await store.commit([release("a", name)]);
    await store.deleteNetwork(name, "test");
  }
  // Outside the pools.
  await attach(store, claim("outside", "a", "o", { ...dual, ips: ["10.0.0.250"] }));
  await store.commit([release("a", "o")]);
}

export async function collect(store: Store): Promise<TransferRow[]> {
  const rows: TransferRow[] = [];
  for await (const row of store.exportRows()) rows.push(row);
  return rows;
}

/** The rows, as a stream of an export ends. */
export async function* sealed(rows: readonly TransferRow[]): AsyncGenerator<TransferRow | TransferEnd> {
  const digest = new TransferDigest();
  for (const row of rows) {
    digest.add(row);
    yield row;
  }
  yield digest.end();
}

export async function importAll(store: Store, rows: readonly TransferRow[]): Promise<ImportResponse> {
  return store.importRows(sealed(rows));
}
