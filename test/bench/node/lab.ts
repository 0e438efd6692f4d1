import { access } from "node:fs/promises";
import { must } from "../../../scripts/lab/command.ts";
import { type Ipam, startIpam } from "../../../scripts/lab/ipam.ts";
import { DIST, ROOT } from "../../../scripts/lab/paths.ts";
import { openTopology, type Topology } from "../../../scripts/lab/topology.ts";
import type { BenchContext } from "../context.ts";

export interface BenchLab extends AsyncDisposable {
  topology: Topology;
  ipam: Ipam;
}

/** The lab's two nodes, with an IPAM in its management namespace that serves the lab's network of VLAN 100. */
export async function openBenchLab(context: BenchContext): Promise<BenchLab> {
  const built = await access(`${DIST}mooring`).then(
    () => true,
    () => false,
  );
  if (!built) await must([context.nodePath, `${ROOT}scripts/build.ts`]);
  await using stack = new AsyncDisposableStack();
  const topology = stack.use(await openTopology({ label: "bench" }));
  const ipam = await startIpam(topology);
  await ipam.mustCtl("apply", "-f", `${ROOT}scripts/lab/networks.yaml`);
  const owned = stack.move();
  return { topology, ipam, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
