import assert from "node:assert/strict";
import { test } from "node:test";
import { IpamError } from "../../../../ipam-server/contract/index.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { AWAY, LEASE_MS, LeaseBench, pod } from "./harness.ts";

const TEN_MINUTES = 10 * 60_000;

test("a network that leases is learned of by an answer, and the node is leased its share by one owner in one go", async () => {
  await using bench = await LeaseBench.filled({ size: 4, low: 2 });
  assert.equal(bench.claims.length, 4);
  for (const { name, owner, sandbox, retention, networkSelector, cluster, host } of bench.claims) {
    assert.match(name ?? "", /^lease:node-a\/[0-9a-f]{16}$/);
    assert.deepEqual([owner.kind, sandbox, retention?.policy], ["lease", undefined, "ephemeral"]);
    assert.deepEqual([networkSelector, cluster, host], ["env=prod", "c1", "node-a"]);
  }
  assert.equal(new Set(bench.claims.map(({ owner }) => owner.uid)).size, 1);
});

test("nothing is leased for networks that lease nothing, and for pods that may not use it", async () => {
  await using bench = new LeaseBench();
  bench.learn(pod("fixed", { labels: { fixed: "" } }));
  bench.terms = undefined;
  bench.learn();
  await bench.pass();
  assert.equal(bench.claims.length, 0);
});

test("a lease is taken once, and becomes the pod's with id, epoch, addresses and MAC", async () => {
  await using bench = await LeaseBench.filled();
  const [port] = bench.leases.ports();
  const taken = bench.leases.take(pod("u1", { labels: { app: "web" } }));
  assert.equal(taken?.leasedPort, port?.name);
  const { attachment } = taken ?? assert.fail();
  assert.deepEqual(
    [attachment.port.id, attachment.port.epoch, attachment.port.mac, attachment.port.fixedIps],
    [port?.id, port?.epoch, port?.mac, port?.fixedIps],
  );
  assert.deepEqual(
    [attachment.port.name, attachment.port.owner?.uid, attachment.port.labels, attachment.port.namespace],
    ["c1/default/u1", "u1", { app: "web" }, "default"],
  );
  assert.deepEqual(attachment.port.binding?.sandbox, { id: "sandbox-of-u1", interface: "eth0" });
  assert.equal(attachment.port.expiresAt, undefined);
  assert.notEqual(bench.take("u2"), taken?.leasedPort);
});

test("only who asks in the same way gets of a pool", async () => {
  await using bench = await LeaseBench.filled();
  for (const change of [
    { networkSelector: "env=other" },
    { families: ["ipv6" as const] },
    { availabilityZone: "az2" },
    { physicalNetworks: ["physnet9"] },
    { labels: { fixed: "" } },
  ]) {
    assert.equal(bench.leases.take(pod("u1", change)), undefined, JSON.stringify(change));
  }
  assert.ok(bench.leases.take(pod("u1")));
});

test("below the low mark, and not before, the node asks for more, up to its share", async () => {
  await using bench = await LeaseBench.filled({ size: 4, low: 2 });
  bench.take("u1");
  bench.take("u2");
  await bench.pass();
  assert.equal(bench.claims.length, 4);
  bench.take("u3");
  await bench.waitForStock(4);
  assert.equal(bench.claims.length, 7);
});

test("leases are prolonged when a third of their time is over, and keep their ends apart from any machine's date", async () => {
  await using bench = await LeaseBench.filled();
  const before = bench.names();
  await bench.pass(LEASE_MS / 3 - 1000);
  assert.equal(bench.claims.length, 4);
  await bench.pass(2000);
  assert.deepEqual(
    bench.claims
      .slice(4)
      .map(({ name }) => name)
      .toSorted(),
    before.toSorted(),
  );
  await bench.pass(LEASE_MS * 0.9);
  assert.equal(bench.names().length, 4, "prolonged, they go on");
});

test("with the IPAM away leases are taken until they end by the node's own clock, and not after", async () => {
  await using bench = await LeaseBench.filled();
  bench.refusal = AWAY;
  await bench.pass(LEASE_MS * 0.9);
  assert.ok(bench.take("u1"));
  bench.timeMs = 1000 + LEASE_MS * 0.99;
  // No round has run since: what is over is found over when it is asked for.
  assert.equal(bench.take("u2"), undefined);
});

test("the time is counted from before the claim was sent, however late its answer came", async () => {
  await using bench = new LeaseBench();
  bench.onClaim = async () => {
    await new Promise(resolve => setImmediate(resolve));
    bench.timeMs = 1000 + LEASE_MS * 0.5;
  };
  bench.learn();
  await bench.waitForStock(4);
  bench.timeMs = 1000 + LEASE_MS * 0.99;
  assert.equal(bench.take("u1"), undefined);
});

test("what was over when its answer came is given back, and so is an answer that tells no end", async () => {
  await using bench = new LeaseBench();
  bench.onClaim = () => {
    bench.timeMs += LEASE_MS;
  };
  bench.learn();
  await waitFor("the leases to go back", () => bench.releases.length >= 4);
  assert.deepEqual(bench.names(), []);
});

test("a lease that the IPAM prolongs no more goes back and is given to nobody", async () => {
  await using bench = await LeaseBench.filled();
  const before = bench.names();
  bench.refusal = new IpamError("conflict", "leases no addresses");
  await bench.pass(LEASE_MS / 3);
  assert.equal(bench.take("u1"), undefined);
  assert.deepEqual(bench.releases.map(({ name }) => name).toSorted(), before.toSorted());
});

test("a lease that was ended meanwhile is made anew by its prolongation, and only the new one given away", async () => {
  await using bench = await LeaseBench.filled({ size: 1, low: 1 });
  const [before] = bench.leases.ports();
  bench.held.delete(before?.name ?? "");
  await bench.pass(LEASE_MS / 3);
  const taken = bench.leases.take(pod("u1"));
  assert.equal(taken?.leasedPort, before?.name);
  assert.notEqual(taken?.attachment.port.id, before?.id);
  assert.deepEqual(bench.releases, []);
});

test("a lease taken while it is being prolonged, of which the IPAM hears first, leaves nothing behind", async () => {
  await using bench = await LeaseBench.filled({ size: 1, low: 1 });
  const answer = Promise.withResolvers<void>();
  bench.onClaim = () => answer.promise;
  await bench.pass(LEASE_MS / 3);
  const taken = bench.take("u1") ?? assert.fail();
  // As when it is the pod's port: the name is free again.
  bench.held.delete(taken);
  answer.resolve();
  await waitFor("the other one to go back", () => bench.releases.some(({ name }) => name === taken));
  assert.equal(bench.held.has(taken), false);
});

test("a lease taken while it is being prolonged stays the pod's", async () => {
  await using bench = await LeaseBench.filled({ size: 1, low: 1 });
  const answer = Promise.withResolvers<void>();
  bench.onClaim = () => answer.promise;
  await bench.pass(LEASE_MS / 3);
  const taken = bench.take("u1");
  assert.ok(taken);
  answer.resolve();
  await bench.pass();
  assert.equal(bench.names().includes(taken), false);
  assert.deepEqual(bench.releases, []);
});

test("unused for ten minutes the node gives all back, and is leased again when pods come again", async () => {
  await using bench = await LeaseBench.filled({ size: 4, low: 2 }, TEN_MINUTES);
  bench.take("u1");
  await bench.pass(9 * 60_000);
  assert.equal(bench.names().length, 3);
  await bench.pass(2 * 60_000);
  assert.deepEqual([bench.names().length, bench.releases.length], [0, 3]);
  assert.equal(bench.releases[0]?.ownerUid, bench.claims[0]?.owner.uid);
  bench.learn();
  await bench.waitForStock(4);
});

test("with the IPAM away nothing is given back for being idle: pods to come could have nothing else", async () => {
  await using bench = await LeaseBench.filled({ size: 4, low: 2 }, TEN_MINUTES);
  bench.refusal = AWAY;
  await bench.pass(2 * TEN_MINUTES);
  assert.ok(bench.take("u1"));
  bench.refusal = undefined;
  await bench.pass(TEN_MINUTES);
  assert.deepEqual([bench.names().length, bench.releases.length], [0, 3]);
});

test("a cordoned node gives all back and is leased nothing, until it is uncordoned", async () => {
  await using bench = await LeaseBench.filled();
  bench.leases.setCordoned(true);
  await waitFor("the leases to go back", () => bench.releases.length === 4);
  bench.learn();
  assert.equal(bench.take("u1"), undefined);
  assert.equal(bench.claims.length, 4);
  bench.leases.setCordoned(false);
  bench.learn();
  await bench.waitForStock(4);
});

test("leases that come while the node is being cordoned go back", async () => {
  await using bench = new LeaseBench();
  const answer = Promise.withResolvers<void>();
  bench.onClaim = () => answer.promise;
  bench.learn();
  await waitFor("the claims", () => bench.claims.length === 4);
  bench.leases.setCordoned(true);
  answer.resolve();
  await waitFor("the leases to go back", () => bench.releases.length === 4);
  assert.equal(bench.held.size, 0);
});

test("a smaller share sends back what is beyond it", async () => {
  await using bench = await LeaseBench.filled({ size: 4, low: 2 });
  bench.terms = { size: 2, low: 1 };
  bench.learn();
  await bench.pass();
  assert.deepEqual([bench.names().length, bench.releases.length], [2, 2]);
});

test("an answer without a lease sends that network's leases back", async () => {
  await using bench = await LeaseBench.filled();
  bench.terms = undefined;
  bench.learn();
  await bench.pass();
  assert.deepEqual([bench.names().length, bench.releases.length], [0, 4]);
});

test("refused, the node asks again later and later, and at once when the IPAM is back", async () => {
  await using bench = new LeaseBench();
  bench.refusal = new IpamError("no_address_available", "little left");
  bench.learn();
  await waitFor("the claims", () => bench.claims.length === 4);
  await bench.pass();
  await bench.pass();
  assert.equal(bench.claims.length, 4, "not again at once");
  // Twelve hours of a pod every nine minutes.
  for (let minutes = 0; minutes < 720; minutes += 1) {
    bench.learn();
    if (minutes % 9 === 0) bench.take(`u${minutes}`);
    await bench.pass(60_000);
  }
  const asked = bench.claims.length / 4;
  assert.ok(asked > 72 && asked < 400, `${asked} times in twelve hours`);
  bench.refusal = undefined;
  bench.leases.retry();
  await bench.waitForStock(4);
});

test("a lease that the IPAM ended is given to nobody, and replaced", async () => {
  await using bench = await LeaseBench.filled({ size: 4, low: 4 });
  const [ended = ""] = bench.names();
  bench.leases.dropWhere(({ name }) => name === ended);
  assert.equal(bench.names().includes(ended), false);
  await bench.waitForStock(4);
  assert.deepEqual(bench.releases, []);
});

test("no more pods are promised an address than there are, and one that is gone frees its promise", async () => {
  await using bench = await LeaseBench.filled({ size: 2, low: 1 });
  assert.deepEqual(
    ["u1", "u1", "u2", "u3"].map(uid => bench.leases.reserve(pod(uid))),
    [true, true, true, false],
  );
  bench.leases.cancelReservation("u1");
  assert.ok(bench.leases.reserve(pod("u3")));
  assert.ok(bench.take("u2"));
  assert.equal(bench.leases.reserve(pod("u4")), false);
});

test("what is asked for or waits is in use; what was taken, dropped or lost is not", async () => {
  await using bench = new LeaseBench();
  const answer = Promise.withResolvers<void>();
  bench.onClaim = () => answer.promise;
  bench.learn();
  await waitFor("the claims", () => bench.claims.length === 4);
  const [first = "", second = ""] = bench.claims.map(({ name }) => name ?? "");
  assert.ok(bench.leases.isInUse(first));
  answer.resolve();
  await bench.waitForStock(4);
  assert.ok(bench.leases.isInUse(first));
  assert.equal(bench.take("u1"), first);
  bench.leases.dropWhere(({ name }) => name === second);
  assert.deepEqual([bench.leases.isInUse(first), bench.leases.isInUse(second)], [false, false]);
});

test("an agent that ends gives its leases back, and gives away no more", async () => {
  const bench = await LeaseBench.filled();
  await bench[Symbol.asyncDispose]();
  assert.equal(bench.held.size, 0);
  assert.equal(bench.take("u1"), undefined);
});

test("with the IPAM away an agent ends all the same", async () => {
  const bench = await LeaseBench.filled();
  bench.refusal = AWAY;
  await bench[Symbol.asyncDispose]();
});
