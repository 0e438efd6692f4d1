import { join } from "node:path";
import type { NetworkManifest } from "../../ipam-server/contract/index.ts";
import { openSqliteStore } from "../../ipam-server/storage/sqlite/open.ts";
import { IPAM_ADDRESS, openTopology, type Topology } from "../../scripts/lab/topology.ts";
import type { BenchContext } from "./context.ts";
import { IpamProcess } from "./ipam-process.ts";

/** VLAN 100 of the lab's fabric; the pool leaves out what the fabric itself uses. */
const NETWORK: NetworkManifest = {
  apiVersion: "mooring.dev/v1",
  kind: "Network",
  metadata: { name: "prod-a", labels: { env: "prod" } },
  spec: {
    segment: { type: "vlan", id: 100, physicalNetwork: "physnet1" },
    mtu: 1500,
    subnets: [{ cidr: "10.100.0.0/16", gateway: "10.100.0.1", pools: ["10.100.1.0-10.100.255.254"] }],
  },
};

export interface BenchLab extends AsyncDisposable {
  topology: Topology;
  ipam: IpamProcess;
}

/** The lab's two nodes, with an IPAM in its management namespace that knows one network. */
export async function openBenchLab(context: BenchContext): Promise<BenchLab> {
  await using stack = new AsyncDisposableStack();
  const topology = stack.use(await openTopology({ label: "bench" }));
  const database = join(topology.dir, "ipam.db");
  {
    await using store = await openSqliteStore({ path: database });
    await store.putNetwork(NETWORK, "bench");
  }
  const inside = (argv: readonly string[]) => topology.mgmt.inside(argv);
  const ipam = stack.use(await IpamProcess.start(context, database, { host: IPAM_ADDRESS, port: 7070, inside }));
  const owned = stack.move();
  return { topology, ipam, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
