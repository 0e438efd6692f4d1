import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpamError } from "../../../../ipam-server/contract/index.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { AWAY, Harness, LEASE_MS, pod, TEN_MINUTES } from "./harness.ts";

describe("Leases", () => {
  it("claims the node's share in one batch once an answer grants leases, and probes it", async () => {
    await using harness = await Harness.filled({ size: 4, low: 2 });
    assert.equal(harness.claims.length, 4);
    for (const { name, owner, sandbox, retention, networkSelector, cluster, host } of harness.claims) {
      assert.match(name ?? "", /^lease:node-a\/[0-9a-f]{16}$/);
      assert.deepEqual([owner.kind, sandbox, retention?.policy], ["lease", undefined, "ephemeral"]);
      assert.deepEqual([networkSelector, cluster, host], ["env=prod", "c1", "node-a"]);
    }
    assert.equal(new Set(harness.claims.map(({ owner }) => owner.uid)).size, 1);
    assert.deepEqual(harness.probed.toSorted(), harness.claims.map(({ name = "" }) => name).sort());
  });

  it("claims nothing for networks without leases, or pods that cannot use them", async () => {
    await using harness = new Harness();
    harness.observe(pod("fixed", { labels: { fixed: "" } }));
    harness.terms = undefined;
    harness.observe();
    await harness.pass();
    assert.equal(harness.claims.length, 0);
  });

  it("assigns a lease once, with its id, epoch, addresses and MAC", async () => {
    await using harness = await Harness.filled();
    const [port] = harness.leases.ports();
    const taken = harness.leases.assign(pod("u1", { labels: { app: "web" } }));
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
    assert.notEqual(harness.assign("u2"), taken?.leasedPort);
  });

  it("assigns from a pool only for the same request", async () => {
    await using harness = await Harness.filled();
    for (const change of [
      { networkSelector: "env=other" },
      { families: ["ipv6" as const] },
      { availabilityZone: "az2" },
      { physicalNetworks: ["physnet9"] },
      { labels: { fixed: "" } },
    ]) {
      assert.equal(harness.leases.assign(pod("u1", change)), undefined, JSON.stringify(change));
    }
    assert.ok(harness.leases.assign(pod("u1")));
  });

  it("fills the pool to its share below the low mark, and not before", async () => {
    await using harness = await Harness.filled({ size: 4, low: 2 });
    harness.assign("u1");
    harness.assign("u2");
    await harness.pass();
    assert.equal(harness.claims.length, 4);
    harness.assign("u3");
    await harness.waitForStock(4);
    assert.equal(harness.claims.length, 7);
  });

  it("renews at a third of the lease, independent of wall clocks", async () => {
    await using harness = await Harness.filled();
    const before = harness.names();
    await harness.pass(LEASE_MS / 3 - 1000);
    assert.equal(harness.claims.length, 4);
    await harness.pass(2000);
    assert.deepEqual(
      harness.claims
        .slice(4)
        .map(({ name }) => name)
        .toSorted(),
      before.toSorted(),
    );
    await harness.pass(LEASE_MS * 0.9);
    assert.equal(harness.names().length, 4, "renewed leases stay");
  });

  it("IPAM down: assigns leases until they end by the node's clock", async () => {
    await using harness = await Harness.filled();
    harness.rejection = AWAY;
    await harness.pass(LEASE_MS * 0.9);
    assert.ok(harness.assign("u1"));
    harness.timeMs = 1000 + LEASE_MS * 0.99;
    // No pass has run since, so assignment itself checks the end of a lease.
    assert.equal(harness.assign("u2"), undefined);
  });

  it("counts a lease from the time of its request, however late the answer", async () => {
    await using harness = new Harness();
    harness.onClaim = async () => {
      await new Promise(resolve => setImmediate(resolve));
      harness.timeMs = 1000 + LEASE_MS * 0.5;
    };
    harness.observe();
    await harness.waitForStock(4);
    harness.timeMs = 1000 + LEASE_MS * 0.99;
    assert.equal(harness.assign("u1"), undefined);
  });

  it("releases a lease whose answer has no end or came after it", async () => {
    await using harness = new Harness();
    harness.onClaim = () => {
      harness.timeMs += LEASE_MS;
    };
    harness.observe();
    await waitFor("the leases to go back", () => harness.releases.length >= 4);
    assert.deepEqual(harness.names(), []);
  });

  it("releases a lease that the IPAM does not renew", async () => {
    await using harness = await Harness.filled();
    const before = harness.names();
    harness.rejection = new IpamError("conflict", "leases no addresses");
    await harness.pass(LEASE_MS / 3);
    assert.equal(harness.assign("u1"), undefined);
    assert.deepEqual(harness.releases.map(({ name }) => name).toSorted(), before.toSorted());
  });

  it("assigns only the new lease when a renewal recreates an ended one", async () => {
    await using harness = await Harness.filled({ size: 1, low: 1 });
    const [before] = harness.leases.ports();
    harness.held.delete(before?.name ?? "");
    await harness.pass(LEASE_MS / 3);
    const taken = harness.leases.assign(pod("u1"));
    assert.equal(taken?.leasedPort, before?.name);
    assert.notEqual(taken?.attachment.port.id, before?.id);
    assert.deepEqual(harness.releases, []);
  });

  it("leaves nothing when a lease is assigned and confirmed during its renewal", async () => {
    await using harness = await Harness.filled({ size: 1, low: 1 });
    const answer = Promise.withResolvers<void>();
    harness.onClaim = () => answer.promise;
    await harness.pass(LEASE_MS / 3);
    const taken = harness.assign("u1") ?? assert.fail();
    // As after confirmation as the pod's port: the lease's name is free again.
    harness.held.delete(taken);
    answer.resolve();
    await waitFor("the other one to go back", () => harness.releases.some(({ name }) => name === taken));
    assert.equal(harness.held.has(taken), false);
  });

  it("keeps a lease with its pod when assigned during its renewal", async () => {
    await using harness = await Harness.filled({ size: 1, low: 1 });
    const answer = Promise.withResolvers<void>();
    harness.onClaim = () => answer.promise;
    await harness.pass(LEASE_MS / 3);
    const taken = harness.assign("u1");
    assert.ok(taken);
    answer.resolve();
    await harness.pass();
    assert.equal(harness.names().includes(taken), false);
    assert.deepEqual(harness.releases, []);
  });

  it("releases all after ten idle minutes, and leases again for new pods", async () => {
    await using harness = await Harness.filled({ size: 4, low: 2 }, TEN_MINUTES);
    harness.assign("u1");
    await harness.pass(9 * 60_000);
    assert.equal(harness.names().length, 3);
    await harness.pass(2 * 60_000);
    assert.deepEqual([harness.names().length, harness.releases.length], [0, 3]);
    assert.equal(harness.releases[0]?.ownerUid, harness.claims[0]?.owner.uid);
    harness.observe();
    await harness.waitForStock(4);
  });

  it("IPAM down: keeps idle leases", async () => {
    await using harness = await Harness.filled({ size: 4, low: 2 }, TEN_MINUTES);
    harness.rejection = AWAY;
    await harness.pass(2 * TEN_MINUTES);
    assert.ok(harness.assign("u1"));
    harness.rejection = undefined;
    await harness.pass(TEN_MINUTES);
    assert.deepEqual([harness.names().length, harness.releases.length], [0, 3]);
  });

  it("releases all on cordon, and leases again on uncordon", async () => {
    await using harness = await Harness.filled();
    harness.leases.setCordoned(true);
    await waitFor("the leases to go back", () => harness.releases.length === 4);
    harness.observe();
    assert.equal(harness.assign("u1"), undefined);
    assert.equal(harness.claims.length, 4);
    harness.leases.setCordoned(false);
    harness.observe();
    await harness.waitForStock(4);
  });

  it("releases leases that arrive during a cordon", async () => {
    await using harness = new Harness();
    const answer = Promise.withResolvers<void>();
    harness.onClaim = () => answer.promise;
    harness.observe();
    await waitFor("the claims", () => harness.claims.length === 4);
    harness.leases.setCordoned(true);
    answer.resolve();
    await waitFor("the leases to go back", () => harness.releases.length === 4);
    assert.equal(harness.held.size, 0);
  });

  it("releases the excess when the share shrinks", async () => {
    await using harness = await Harness.filled({ size: 4, low: 2 });
    harness.terms = { size: 2, low: 1 };
    harness.observe();
    await harness.pass();
    assert.deepEqual([harness.names().length, harness.releases.length], [2, 2]);
  });

  it("releases a network's leases after an answer without a lease", async () => {
    await using harness = await Harness.filled();
    harness.terms = undefined;
    harness.observe();
    await harness.pass();
    assert.deepEqual([harness.names().length, harness.releases.length], [0, 4]);
  });

  it("backs off when rejected, and retries at once when the IPAM is back", async () => {
    await using harness = new Harness();
    harness.rejection = new IpamError("no_address_available", "little left");
    harness.observe();
    await waitFor("the claims", () => harness.claims.length === 4);
    await harness.pass();
    await harness.pass();
    assert.equal(harness.claims.length, 4, "not again at once");
    // Twelve hours with a new pod every nine minutes.
    for (let minutes = 0; minutes < 720; minutes += 1) {
      harness.observe();
      if (minutes % 9 === 0) harness.assign(`u${minutes}`);
      await harness.pass(60_000);
    }
    const requests = harness.claims.length / 4;
    assert.ok(requests > 72 && requests < 400, `${requests} times in twelve hours`);
    harness.rejection = undefined;
    harness.leases.retry();
    await harness.waitForStock(4);
  });

  it("replaces a lease that the IPAM ended, and never assigns it", async () => {
    await using harness = await Harness.filled({ size: 4, low: 4 });
    const [ended = ""] = harness.names();
    harness.leases.dropWhere(({ name }) => name === ended);
    assert.equal(harness.names().includes(ended), false);
    await harness.waitForStock(4);
    assert.deepEqual(harness.releases, []);
  });

  it("reserves no more than it has, and frees the reservation of a deleted pod", async () => {
    await using harness = await Harness.filled({ size: 2, low: 1 });
    assert.deepEqual(
      ["u1", "u1", "u2", "u3"].map(uid => harness.leases.reserve(pod(uid))),
      [true, true, true, false],
    );
    harness.leases.cancelReservation("u1");
    assert.ok(harness.leases.reserve(pod("u3")));
    assert.ok(harness.assign("u2"));
    assert.equal(harness.leases.reserve(pod("u4")), false);
  });

  it("counts idle and requested leases as in use, and no others", async () => {
    await using harness = new Harness();
    const answer = Promise.withResolvers<void>();
    harness.onClaim = () => answer.promise;
    harness.observe();
    await waitFor("the claims", () => harness.claims.length === 4);
    const [first = "", second = ""] = harness.claims.map(({ name }) => name ?? "");
    assert.ok(harness.leases.isInUse(first));
    answer.resolve();
    await harness.waitForStock(4);
    assert.ok(harness.leases.isInUse(first));
    assert.equal(harness.assign("u1"), first);
    harness.leases.dropWhere(({ name }) => name === second);
    assert.deepEqual([harness.leases.isInUse(first), harness.leases.isInUse(second)], [false, false]);
  });

  it("releases its leases on disposal, and assigns no more", async () => {
    const harness = await Harness.filled();
    await harness[Symbol.asyncDispose]();
    assert.equal(harness.held.size, 0);
    assert.equal(harness.assign("u1"), undefined);
  });

  it("disposes while the IPAM is down", async () => {
    const harness = await Harness.filled();
    harness.rejection = AWAY;
    await harness[Symbol.asyncDispose]();
  });
});
