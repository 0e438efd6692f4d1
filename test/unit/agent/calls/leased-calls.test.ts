import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { problem } from "../../../fakes/ipam-server.ts";
import { Harness, readError } from "../harness.ts";

/** Starts a harness whose node holds leases after a first pod's ADD. */
async function startLeased(size = 4, low = 1): Promise<Harness> {
  const harness = await Harness.start();
  harness.ipam.nodeLease = { size, low };
  assert.equal((await harness.call("ADD", harness.addReplica("22222").name, "s0")).exitCode, 0);
  await waitFor("the leases", () => [...harness.leases.ports()].length === size);
  return harness;
}

describe("calls with leased addresses", () => {
  it("ADD answers from a lease without a request, and reports it afterwards", async () => {
    await using harness = await startLeased();
    const pod = harness.addReplica("bcdfg");
    const before = harness.ipam.requests.length;
    assert.equal((await harness.call("ADD", pod.name, "s1")).exitCode, 0);
    assert.equal(harness.ipam.requests.length, before);
    const plugged = harness.node.plugged.get("s1/eth0");
    assert.equal(plugged?.externalIds["mooring-port"], `c1/default/${pod.name}`);

    await harness.deliver();
    const delivered = harness.ipam.ports.get(`c1/default/${pod.name}`);
    assert.deepEqual(
      [delivered?.id, String(delivered?.epoch), delivered?.binding?.sandbox?.id, delivered?.owner?.uid],
      [plugged?.externalIds["mooring-port-id"], plugged?.externalIds["mooring-epoch"], "s1", pod.uid],
    );
    assert.deepEqual(await harness.journaled(), []);
    await waitFor("the report", () => harness.ipam.reports.some(({ name }) => name === delivered?.name));
    assert.equal((await harness.call("DEL", pod.name, "s1")).exitCode, 0);
    assert.equal(harness.ipam.ports.has(`c1/default/${pod.name}`), false);
  });

  /** Fails every claim, release and report until the end of the scope. */
  function cutOff(harness: Harness): Disposable {
    harness.ipam.instead.push(
      ...Array.from({ length: 500 }, () => problem("unavailable", "away", { retryAfterSeconds: 0 })),
    );
    return { [Symbol.dispose]: () => void harness.ipam.instead.splice(0) };
  }

  /** Returns the sandboxes that the IPAM has bound, and those that are plugged. */
  function assertBooksAgree(harness: Harness): void {
    const bound = [...harness.ipam.ports.values()].filter(({ owner }) => owner?.kind === "pod");
    const plugged = [...harness.node.plugged.values()].filter(({ isFenced }) => !isFenced);
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

  it("IPAM down: ADD uses leased addresses, then fails with code 11", async () => {
    await using harness = await startLeased(2);
    {
      using _away = cutOff(harness);
      assert.equal((await harness.call("ADD", harness.addReplica("bbbbb").name, "s1")).exitCode, 0);
      assert.equal((await harness.call("ADD", harness.addReplica("ccccc").name, "s2")).exitCode, 0);
      assert.equal(readError(await harness.call("ADD", harness.addReplica("ddddd").name, "s3")).code, 11);
      assert.equal((await harness.call("DEL", "web-7d9c5b-bbbbb", "s1")).exitCode, 0);
    }
    await harness.deliver();
    assertBooksAgree(harness);
  });

  it("DEL before the claim is delivered is journaled after it, and leaves no binding", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    assert.equal((await harness.call("ADD", name, "s1")).exitCode, 0);
    const before = harness.ipam.releases.length;
    assert.equal((await harness.call("DEL", name, "s1")).exitCode, 0);
    assert.equal(harness.ipam.releases.length, before, "the IPAM has no such sandbox yet");
    await harness.deliver();
    assert.deepEqual(harness.ipam.releases.at(-1)?.sandbox, { id: "s1", interface: "eth0" });
    assert.equal(harness.ipam.ports.has(`c1/default/${name}`), false);
    assertBooksAgree(harness);
  });

  it("a failed ADD with a lease leaves nothing plugged and nothing bound", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    harness.node.failures.plug = new Error("no room");
    assert.equal((await harness.call("ADD", name, "s1")).exitCode, 1);
    delete harness.node.failures.plug;
    await harness.deliver();
    assertBooksAgree(harness);
    assert.equal((await harness.call("ADD", name, "s2")).exitCode, 0);
    await harness.deliver();
    assertBooksAgree(harness);
  });

  it("ADD fails when it cannot be journaled, and its retry succeeds", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    await writeFile(join(harness.dir, "journal"), "in the way");
    const error = readError(await harness.call("ADD", name, "s1"));
    assert.equal(error.code, 11);
    assert.match(error.msg, /journal .* accepts no entry/);
    assert.deepEqual(harness.node.connected(), ["s0/eth0"]);
    await rm(join(harness.dir, "journal"));
    assert.equal((await harness.call("DEL", name, "s1")).exitCode, 0);
    await harness.deliver();
    assert.equal((await harness.call("ADD", name, "s2")).exitCode, 0);
    await harness.deliver();
    assertBooksAgree(harness);
  });

  it("journal full: ADD fails, its lease is released, DEL succeeds", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    await writeFile(join(harness.dir, "journal"), "in the way");
    for (const sandbox of ["s1", "s2"]) {
      assert.equal(readError(await harness.call("ADD", name, sandbox)).code, 11);
      assert.equal((await harness.call("DEL", name, sandbox)).exitCode, 0);
    }
    assert.equal(harness.unreported.size, 0, "the sweep releases a lease that is in no pool and no assignment");
    assertBooksAgree(harness);
  });

  it("a repeated ADD before delivery gets the same address without a request", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    const first = await harness.call("ADD", name, "s1");
    const before = harness.ipam.requests.length;
    assert.deepEqual(await harness.call("ADD", name, "s1"), first);
    assert.equal(harness.ipam.requests.length, before);
    await harness.deliver();
    assertBooksAgree(harness);
  });

  it("a second sandbox gets another address while the first is unreported", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    assert.equal((await harness.call("ADD", name, "s1")).exitCode, 0);
    assert.equal((await harness.call("DEL", name, "s1")).exitCode, 0);
    assert.equal((await harness.call("ADD", name, "s2")).exitCode, 0);
    await harness.deliver();
    assertBooksAgree(harness);
    assert.equal((await harness.call("DEL", name, "s2")).exitCode, 0);
    await harness.deliver();
    assertBooksAgree(harness);
  });

  it("a second sandbox without a DEL claims, and the first is fenced on delivery", async () => {
    await using harness = await startLeased();
    const { name, uid } = harness.addReplica("bbbbb");
    assert.equal((await harness.call("ADD", name, "s1")).exitCode, 0);
    assert.equal((await harness.call("ADD", name, "s2")).exitCode, 0);
    assert.equal(harness.ipam.claims.at(-1)?.sandbox?.id, "s2");
    await harness.deliver();
    assert.deepEqual(harness.node.connected(), ["s0/eth0", "s2/eth0"]);
    assert.equal(harness.held.find(uid, "eth0")?.sandboxId, "s2");
    assertBooksAgree(harness);
    assert.deepEqual(harness.events, [], "the pod is well where it is");
  });

  it("a pod with a held port claims it and gets no lease", async () => {
    await using harness = await startLeased();
    const pod = harness.addReplica("bbbbb");
    await harness.preclaim(pod);
    const stock = [...harness.leases.ports()].length;
    assert.equal((await harness.call("ADD", pod.name, "s1")).exitCode, 0);
    assert.equal([...harness.leases.ports()].length, stock);
    assert.equal(harness.ipam.claims.at(-1)?.leasedPort, undefined);
    assertBooksAgree(harness);
  });

  it("a pod whose pre-claim was lost keeps its lease, and the pre-claim is removed", async () => {
    await using harness = await startLeased();
    const pod = harness.addReplica("bbbbb");
    await harness.client.claim(await harness.claims.derivePreclaim(pod));
    assert.equal((await harness.call("ADD", pod.name, "s1")).exitCode, 0);
    await harness.deliver();
    assert.ok(harness.node.plugged.has("s1/eth0"));
    assertBooksAgree(harness);
  });

  it("no pod gets a lease before the node's bindings are loaded", async () => {
    await using harness = await startLeased();
    harness.held.isSynced = false;
    const { name } = harness.addReplica("bbbbb");
    assert.equal((await harness.call("ADD", name, "s1")).exitCode, 0);
    assert.equal(harness.ipam.claims.at(-1)?.name, `c1/default/${name}`);
  });

  it("pods that may have a port already never use a lease", async () => {
    await using harness = await startLeased();
    const stock = [...harness.leases.ports()].length;
    const controller = { apiVersion: "apps/v1", kind: "StatefulSet", name: "web", uid: "set", controller: true };
    harness.addPod("web-0", {}, undefined, { generateName: "web-", ownerReferences: [controller] });
    harness.addPod("bare");
    harness.addReplica("bbbbb", { "mooring.dev/retain": "sticky" });
    harness.addReplica("ccccc", { "mooring.dev/ip": "10.100.9.9" });
    for (const [index, name] of ["web-0", "bare", "web-7d9c5b-bbbbb", "web-7d9c5b-ccccc"].entries()) {
      assert.equal((await harness.call("ADD", name, `s${index + 1}`)).exitCode, 0);
      assert.equal(harness.ipam.claims.at(-1)?.owner.kind, "pod", name);
      assert.equal(harness.ipam.claims.at(-1)?.leasedPort, undefined, name);
    }
    assert.equal([...harness.leases.ports()].length, stock);
  });

  it("a rejected assignment fences the pod, reports it and blocks nothing", async () => {
    await using harness = await startLeased();
    const [first, second] = [harness.addReplica("bbbbb"), harness.addReplica("ccccc")];
    const [lease] = harness.leases.ports();
    assert.equal((await harness.call("ADD", first.name, "s1")).exitCode, 0);
    assert.equal((await harness.call("ADD", second.name, "s2")).exitCode, 0);
    harness.ipam.ports.delete(lease?.name ?? "");
    await harness.deliver();
    assert.deepEqual(harness.node.connected(), ["s0/eth0", "s2/eth0"]);
    const [fault] = harness.faults;
    assert.deepEqual([fault?.reason, fault?.ownerUid], ["AddressRefused", first.uid]);
    assert.match(fault?.message ?? "", /is no lease any more; delete the pod/);
    assert.deepEqual(await harness.journaled(), []);
    assertBooksAgree(harness);
    assert.equal((await harness.call("DEL", first.name, "s1")).exitCode, 0);
  });

  it("an assignment granted as another binding fences the pod and is released", async () => {
    await using harness = await startLeased();
    const pod = harness.addReplica("bbbbb");
    const [lease] = harness.leases.ports();
    assert.equal((await harness.call("ADD", pod.name, "s1")).exitCode, 0);
    const now = harness.ipam.ports.get(lease?.name ?? "") ?? assert.fail();
    harness.ipam.ports.set(now.name, { ...now, id: "another port" });
    await harness.deliver();
    assert.deepEqual(harness.node.connected(), ["s0/eth0"]);
    assertBooksAgree(harness);
  });

  it("a failed fence after a rejection is retried, and later entries wait", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    const [lease] = harness.leases.ports();
    assert.equal((await harness.call("ADD", name, "s1")).exitCode, 0);
    harness.ipam.ports.delete(lease?.name ?? "");
    harness.node.failures.fence = new Error("OVS is away");
    await assert.rejects(harness.deliver(), /OVS is away/);
    delete harness.node.failures.fence;
    await harness.deliver();
    assert.deepEqual(await harness.journaled(), []);
  });

  it("a rejection after the DEL fences nothing and writes no event", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    const [lease] = harness.leases.ports();
    assert.equal((await harness.call("ADD", name, "s1")).exitCode, 0);
    assert.equal((await harness.call("DEL", name, "s1")).exitCode, 0);
    harness.ipam.ports.delete(lease?.name ?? "");
    harness.node.calls.length = 0;
    await harness.deliver();
    assert.deepEqual([harness.node.calls, harness.events], [[], []]);
  });

  it("the next process restores unreported leases from the journals, in order", async () => {
    await using harness = await startLeased();
    const [stays, goes] = [harness.addReplica("bbbbb"), harness.addReplica("ccccc")];
    const answer = await harness.call("ADD", stays.name, "s1");
    assert.equal((await harness.call("ADD", goes.name, "s2")).exitCode, 0);
    assert.equal((await harness.call("DEL", goes.name, "s2")).exitCode, 0);

    await using next = await harness.takeOver();
    await next.unreported.restore(next.journals);
    assert.equal(next.unreported.size, 2);
    assert.equal(next.held.find(goes.uid, "eth0"), undefined);
    {
      using _away = cutOff(harness);
      assert.deepEqual(await next.call("ADD", stays.name, "s1"), answer);
      assert.equal(readError(await next.call("ADD", goes.name, "s2")).code, 11, "its release is not delivered yet");
      assert.equal((await next.call("DEL", stays.name, "s1")).exitCode, 0);
    }
    await next.deliver();
    assert.equal(next.unreported.size, 0);
    assertBooksAgree(harness);
  });

  it("CHECK of an unreported pod compares it with its assigned lease", async () => {
    await using harness = await startLeased();
    const { name } = harness.addReplica("bbbbb");
    const { stdout } = await harness.call("ADD", name, "s1");
    const conf = { prevResult: JSON.parse(stdout) };
    assert.deepEqual(await harness.call("CHECK", name, "s1", { conf }), { stdout: "", exitCode: 0 });
    await harness.deliver();
    assert.deepEqual(await harness.call("CHECK", name, "s1", { conf }), { stdout: "", exitCode: 0 });
  });
});
