import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { problem } from "../../../fakes/ipam-server.ts";
import { AgentBench, readError } from "../harness.ts";

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

/** No claim, release or report is answered until the end of the scope. */
function cutOff(bench: AgentBench): Disposable {
  bench.ipam.instead.push(
    ...Array.from({ length: 500 }, () => problem("unavailable", "away", { retryAfterSeconds: 0 })),
  );
  return { [Symbol.dispose]: () => void bench.ipam.instead.splice(0) };
}

/** By sandbox: what the IPAM has bound to pods, and what is plugged. */
function assertBooksAgree(bench: AgentBench): void {
  const bound = [...bench.ipam.ports.values()].filter(({ owner }) => owner?.kind === "pod");
  const plugged = [...bench.node.plugged.values()];
  assert.deepEqual(
    bound.map(({ binding, id, epoch }) => `${binding?.sandbox?.id} ${id} ${epoch}`).toSorted(),
    plugged
      .map(
        ({ sandboxId, externalIds }) =>
          `${sandboxId} ${externalIds["mooring-port-id"]} ${externalIds["mooring-epoch"]}`,
      )
      .toSorted(),
  );
}

test("with the IPAM away pods get their addresses from the lease while it lasts, then are to be tried again", async () => {
  await using bench = await startLeased(2);
  {
    using _away = cutOff(bench);
    assert.equal((await bench.call("ADD", bench.addReplica("bbbbb").name, "s1")).exitCode, 0);
    assert.equal((await bench.call("ADD", bench.addReplica("ccccc").name, "s2")).exitCode, 0);
    assert.equal(readError(await bench.call("ADD", bench.addReplica("ddddd").name, "s3")).code, 11);
    assert.equal((await bench.call("DEL", "web-7d9c5b-bbbbb", "s1")).exitCode, 0);
  }
  await bench.deliver();
  assertBooksAgree(bench);
});

test("a DEL before the IPAM has heard of the pod goes behind its claim, and leaves no binding", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  assert.equal((await bench.call("ADD", name, "s1")).exitCode, 0);
  const before = bench.ipam.releases.length;
  assert.equal((await bench.call("DEL", name, "s1")).exitCode, 0);
  assert.equal(bench.ipam.releases.length, before, "the IPAM does not know the sandbox yet");
  await bench.deliver();
  assert.deepEqual(bench.ipam.releases.at(-1)?.sandbox, { id: "s1", interface: "eth0" });
  assert.equal(bench.ipam.ports.has(`c1/default/${name}`), false);
  assertBooksAgree(bench);
});

test("an ADD that fails after it was given a lease leaves nothing plugged and nothing bound", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  bench.node.failures.plug = new Error("no room");
  assert.equal((await bench.call("ADD", name, "s1")).exitCode, 1);
  delete bench.node.failures.plug;
  await bench.deliver();
  assertBooksAgree(bench);
  assert.equal((await bench.call("ADD", name, "s2")).exitCode, 0);
  await bench.deliver();
  assertBooksAgree(bench);
});

test("an ADD that cannot be journaled fails, and its repetition by the same sandbox succeeds", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  await writeFile(join(bench.dir, "journal"), "in the way");
  const error = readError(await bench.call("ADD", name, "s1"));
  assert.equal(error.code, 11);
  assert.match(error.msg, /journal .* takes no entry/);
  assert.deepEqual([...bench.node.plugged.keys()], ["s0/eth0"]);
  await rm(join(bench.dir, "journal"));
  assert.equal((await bench.call("DEL", name, "s1")).exitCode, 0);
  await bench.deliver();
  assert.equal((await bench.call("ADD", name, "s2")).exitCode, 0);
  await bench.deliver();
  assertBooksAgree(bench);
});

test("with a journal that takes nothing no lease is lost: what failed is told at once, and DEL succeeds", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  await writeFile(join(bench.dir, "journal"), "in the way");
  for (const sandbox of ["s1", "s2"]) {
    assert.equal(readError(await bench.call("ADD", name, sandbox)).code, 11);
    assert.equal((await bench.call("DEL", name, sandbox)).exitCode, 0);
  }
  assert.equal(bench.takings.size, 0, "what is in no pool and no taking the sweep gives back");
  assertBooksAgree(bench);
});

test("an ADD repeated before the IPAM has heard of it gets the same address, and asks nothing", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  const first = await bench.call("ADD", name, "s1");
  const before = bench.ipam.requests.length;
  assert.deepEqual(await bench.call("ADD", name, "s1"), first);
  assert.equal(bench.ipam.requests.length, before);
  await bench.deliver();
  assertBooksAgree(bench);
});

test("a pod's second sandbox gets an address of its own, whatever of the first the IPAM has yet to hear", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  assert.equal((await bench.call("ADD", name, "s1")).exitCode, 0);
  assert.equal((await bench.call("DEL", name, "s1")).exitCode, 0);
  assert.equal((await bench.call("ADD", name, "s2")).exitCode, 0);
  await bench.deliver();
  assertBooksAgree(bench);
  assert.equal((await bench.call("DEL", name, "s2")).exitCode, 0);
  await bench.deliver();
  assertBooksAgree(bench);
});

test("a pod's second sandbox without a DEL of the first asks the IPAM, and the first is unplugged as it is told", async () => {
  await using bench = await startLeased();
  const { name, uid } = bench.addReplica("bbbbb");
  assert.equal((await bench.call("ADD", name, "s1")).exitCode, 0);
  assert.equal((await bench.call("ADD", name, "s2")).exitCode, 0);
  assert.equal(bench.ipam.claims.at(-1)?.sandbox?.id, "s2");
  await bench.deliver();
  assert.deepEqual([...bench.node.plugged.keys()], ["s0/eth0", "s2/eth0"]);
  assert.equal(bench.held.find(uid, "eth0")?.sandboxId, "s2");
  assertBooksAgree(bench);
  assert.deepEqual(bench.events, [], "the pod is well where it is");
});

test("a pod that a port is held for already asks the IPAM, and gets no lease beside it", async () => {
  await using bench = await startLeased();
  const pod = bench.addReplica("bbbbb");
  await bench.claimAhead(pod);
  const stock = [...bench.leases.ports()].length;
  assert.equal((await bench.call("ADD", pod.name, "s1")).exitCode, 0);
  assert.equal([...bench.leases.ports()].length, stock);
  assert.equal(bench.ipam.claims.at(-1)?.leasedPort, undefined);
  assertBooksAgree(bench);
});

test("a pod whose claim ahead went unheard keeps the lease that it was given, and nothing is left of the claim", async () => {
  await using bench = await startLeased();
  const pod = bench.addReplica("bbbbb");
  await bench.client.claim(await bench.claims.deriveAhead(pod));
  assert.equal((await bench.call("ADD", pod.name, "s1")).exitCode, 0);
  await bench.deliver();
  assert.ok(bench.node.plugged.has("s1/eth0"));
  assertBooksAgree(bench);
});

test("before the agent knows what this node holds, no pod gets a lease", async () => {
  await using bench = await startLeased();
  bench.held.isWhole = false;
  const { name } = bench.addReplica("bbbbb");
  assert.equal((await bench.call("ADD", name, "s1")).exitCode, 0);
  assert.equal(bench.ipam.claims.at(-1)?.name, `c1/default/${name}`);
});

test("pods whose name or wishes may stand for a port that waits never use a lease", async () => {
  await using bench = await startLeased();
  const stock = [...bench.leases.ports()].length;
  const controller = { apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "set", controller: true };
  bench.addPod("web-0", {}, undefined, { generateName: "web-", ownerReferences: [controller] });
  bench.addPod("bare");
  bench.addReplica("bbbbb", { "mooring.dev/retain": "sticky" });
  bench.addReplica("ccccc", { "mooring.dev/ip": "10.100.9.9" });
  for (const [index, name] of ["web-0", "bare", "web-7d9c5b-bbbbb", "web-7d9c5b-ccccc"].entries()) {
    assert.equal((await bench.call("ADD", name, `s${index + 1}`)).exitCode, 0);
    assert.equal(bench.ipam.claims.at(-1)?.owner.kind, "pod", name);
    assert.equal(bench.ipam.claims.at(-1)?.leasedPort, undefined, name);
  }
  assert.equal([...bench.leases.ports()].length, stock);
});

test("a taking that the IPAM refuses unplugs the pod, tells it, and blocks nothing", async () => {
  await using bench = await startLeased();
  const [first, second] = [bench.addReplica("bbbbb"), bench.addReplica("ccccc")];
  const [lease] = bench.leases.ports();
  assert.equal((await bench.call("ADD", first.name, "s1")).exitCode, 0);
  assert.equal((await bench.call("ADD", second.name, "s2")).exitCode, 0);
  bench.ipam.ports.delete(lease?.name ?? "");
  await bench.deliver();
  assert.deepEqual([...bench.node.plugged.keys()], ["s0/eth0", "s2/eth0"]);
  const [event] = bench.events;
  assert.deepEqual([event?.reason, event?.subject.name], ["AddressRefused", first.name]);
  assert.match(event?.message ?? "", /is no lease any more; delete the pod/);
  assert.deepEqual(await bench.journaled(), []);
  assertBooksAgree(bench);
  assert.equal((await bench.call("DEL", first.name, "s1")).exitCode, 0);
});

test("a taking answered with another binding than was plugged unplugs the pod, and ends what was answered", async () => {
  await using bench = await startLeased();
  const pod = bench.addReplica("bbbbb");
  const [lease] = bench.leases.ports();
  assert.equal((await bench.call("ADD", pod.name, "s1")).exitCode, 0);
  const now = bench.ipam.ports.get(lease?.name ?? "") ?? assert.fail();
  bench.ipam.ports.set(now.name, { ...now, id: "another life" });
  await bench.deliver();
  assert.deepEqual([...bench.node.plugged.keys()], ["s0/eth0"]);
  assertBooksAgree(bench);
});

test("what cannot be unplugged when the IPAM refuses is tried again, and what is behind it waits", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  const [lease] = bench.leases.ports();
  assert.equal((await bench.call("ADD", name, "s1")).exitCode, 0);
  bench.ipam.ports.delete(lease?.name ?? "");
  bench.node.failures.unplug = new Error("OVS is away");
  await assert.rejects(bench.deliver(), /OVS is away/);
  delete bench.node.failures.unplug;
  await bench.deliver();
  assert.deepEqual(await bench.journaled(), []);
});

test("a refusal that comes after the pod's DEL unplugs nobody and tells nobody", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  const [lease] = bench.leases.ports();
  assert.equal((await bench.call("ADD", name, "s1")).exitCode, 0);
  assert.equal((await bench.call("DEL", name, "s1")).exitCode, 0);
  bench.ipam.ports.delete(lease?.name ?? "");
  bench.node.calls.length = 0;
  await bench.deliver();
  assert.deepEqual([bench.node.calls, bench.events], [[], []]);
});

test("a process that takes over finds what the one before had not told: held, in order, answered as before", async () => {
  await using bench = await startLeased();
  const [stays, goes] = [bench.addReplica("bbbbb"), bench.addReplica("ccccc")];
  const answer = await bench.call("ADD", stays.name, "s1");
  assert.equal((await bench.call("ADD", goes.name, "s2")).exitCode, 0);
  assert.equal((await bench.call("DEL", goes.name, "s2")).exitCode, 0);

  await using next = bench.takeOver();
  await next.takings.restore(next.journals);
  assert.equal(next.takings.size, 2);
  assert.equal(next.held.find(goes.uid, "eth0"), undefined);
  {
    using _away = cutOff(bench);
    assert.deepEqual(await next.call("ADD", stays.name, "s1"), answer);
    assert.equal(readError(await next.call("ADD", goes.name, "s2")).code, 11, "its release is yet to be told");
    assert.equal((await next.call("DEL", stays.name, "s1")).exitCode, 0);
  }
  await next.deliver();
  assert.equal(next.takings.size, 0);
  assertBooksAgree(bench);
});

test("CHECK of a pod that the IPAM has yet to hear of holds it against what it was given", async () => {
  await using bench = await startLeased();
  const { name } = bench.addReplica("bbbbb");
  const { stdout } = await bench.call("ADD", name, "s1");
  const conf = { prevResult: JSON.parse(stdout) };
  assert.deepEqual(await bench.call("CHECK", name, "s1", { conf }), { stdout: "", exitCode: 0 });
  await bench.deliver();
  assert.deepEqual(await bench.call("CHECK", name, "s1", { conf }), { stdout: "", exitCode: 0 });
});
