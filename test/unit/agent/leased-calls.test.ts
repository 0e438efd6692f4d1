import assert from "node:assert/strict";
import { test } from "node:test";
import { waitFor } from "../../../scripts/lab/command.ts";
import { AgentBench } from "./bench.ts";

/** A bench whose node has learned of leases from a first pod, and has them. */
async function startLeased(size = 4, low = 1): Promise<AgentBench> {
  const bench = await AgentBench.start();
  bench.ipam.nodeLease = { size, low };
  assert.equal((await bench.call("ADD", bench.addReplica("22222").name, "s0")).exitCode, 0);
  await waitFor("the leases", () => [...bench.leases.ports()].length === size);
  return bench;
}

test("ADD of a pod from a lease asks the IPAM nothing before it answers, and the IPAM hears of it after", async () => {
  await using bench = await startLeased();
  const pod = bench.addReplica("bcdfg");
  const before = bench.ipam.requests.length;
  assert.equal((await bench.call("ADD", pod.name, "s1")).exitCode, 0);
  assert.equal(bench.ipam.requests.length, before);
  const plugged = bench.node.plugged.get("s1/eth0");
  assert.equal(plugged?.externalIds["mooring-port"], `c1/default/${pod.name}`);

  await bench.deliver();
  const told = bench.ipam.ports.get(`c1/default/${pod.name}`);
  assert.deepEqual(
    [told?.id, String(told?.epoch), told?.binding?.sandbox?.id, told?.owner?.uid],
    [plugged?.externalIds["mooring-port-id"], plugged?.externalIds["mooring-epoch"], "s1", pod.uid],
  );
  assert.deepEqual(await bench.journaled(), []);
  await waitFor("the report", () => bench.ipam.reports.some(({ name }) => name === told?.name));
  assert.equal((await bench.call("DEL", pod.name, "s1")).exitCode, 0);
  assert.equal(bench.ipam.ports.has(`c1/default/${pod.name}`), false);
});
