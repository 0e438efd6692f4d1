import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Claim } from "../../../ipam-server/contract/index.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  attached,
  bornAt,
  claim,
  commitOne,
  leaseClaim,
  network,
  refused,
  release,
  slotClaim,
} from "../support/builders.ts";
import { namesOf, takeLease } from "../support/lease-builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NODE_LEASE = { size: 4, low: 2 };
const NET = network("net", 10, [{ cidr: "10.0.0.0/24" }, { cidr: "fd00::/64" }], { nodeLease: NODE_LEASE });

export function testLeaseAssignment(engine: Engine): void {
  describe(`${engine.name}: assignment of leases`, () => {
    it("remembers the workload, so that another kind of owner does not get the port", async () => {
      await withStore(engine, [NET], async store => {
        const lease = await attach(store, leaseClaim("a", "1"));
        const workload = { kind: "StatefulSet", namespace: "ns", name: "db" } as const;
        const { port } = await attach(store, takeLease(lease.port.name, "c1/ns/db-0", "a", "first", { workload }));
        assert.deepEqual(port.workload, workload);
        const next = (more: Partial<Claim>) => commitOne(store, claim("c1/ns/db-0", "b", "next", more));
        refused(await next({}), "port_in_use", /StatefulSet db/);
        attached(await next({ workload }));
      });
    });

    it("gives a leased port the pod's name and keeps id, addresses and epoch", async () => {
      await withStore(engine, [NET], async store => {
        const lease = await attach(store, leaseClaim("a", "1"));
        const assignment = takeLease(lease.port.name, "c1/ns/p", "a", "p", { labels: { app: "web" }, cluster: "c1" });
        const { port } = await attach(store, assignment);
        const { id, mac, fixedIps, epoch, network: on } = lease.port;
        assert.deepEqual([port.id, port.mac, port.fixedIps, port.epoch, port.network], [id, mac, fixedIps, epoch, on]);
        assert.deepEqual(port.binding?.sandbox, { id: "p", interface: "eth0" });
        assert.deepEqual([port.owner?.uid, port.labels, port.expiresAt], ["p", { app: "web" }, undefined]);
        assert.equal(port.state, "BUILD_ACTIVE");
        assert.deepEqual(await namesOf(store), ["c1/ns/p"]);
        assert.deepEqual(await store.readPort("c1/ns/p"), port);
        const message = `from ${lease.port.name}`;
        const { events } = await store.readEvents({ port: "c1/ns/p" });
        assert.deepEqual(
          events.map(({ type, message: text }) => [type, text]),
          [["port.bound", message]],
        );
        await attach(store, leaseClaim("a", "2"));
        await store.commit([release("a", "p")]);
        const byAddress = await store.readEvents({ ip: addressesOf(lease)[0] ?? "" });
        assert.deepEqual(
          byAddress.events.map(({ type, port: name }) => `${type} ${name}`),
          [
            "port.created lease:a/1",
            "port.bound lease:a/1",
            "port.bound c1/ns/p",
            "port.released c1/ns/p",
            "port.deleted c1/ns/p",
          ],
        );
        await assertHealthy(store);
      });
    });

    it("answers the same sandbox alike, and another pod with a conflict", async () => {
      await withStore(engine, [NET], async store => {
        const lease = await attach(store, leaseClaim("a", "1"));
        const assignment = takeLease(lease.port.name, "p", "a", "p");
        const first = await attach(store, assignment);
        const { lastSeq } = await store.readEvents({});
        assert.deepEqual(await attach(store, assignment), first);
        assert.equal((await store.readEvents({})).lastSeq, lastSeq);
        refused(
          await commitOne(store, takeLease(lease.port.name, "q", "a", "q")),
          "conflict",
          /no lease of host a any more/,
        );
        assert.deepEqual(await namesOf(store), ["p"]);
      });
    });

    it("assigns a lease to one pod of a batch", async () => {
      await withStore(engine, [NET], async store => {
        const name = "lease:a/1";
        const outcomes = await store.commit([
          leaseClaim("a", "1"),
          takeLease(name, "p", "a", "p"),
          takeLease(name, "q", "a", "q"),
          release("a", "p"),
        ]);
        assert.equal(attached(outcomes[1]).port.id, attached(outcomes[0]).port.id);
        refused(outcomes[2], "conflict");
        assert.deepEqual(outcomes[3], { released: true, name: "p", deleted: true });
        assert.deepEqual(await namesOf(store), []);
        await assertHealthy(store);
      });
    });

    it("rejects another host's lease and an existing name", async () => {
      await withStore(engine, [NET], async store => {
        const { name } = (await attach(store, leaseClaim("a", "1"))).port;
        refused(await commitOne(store, takeLease(name, "p", "b", "p")), "conflict", /no lease of host b/);
        await attach(store, claim("p", "b", "other"));
        refused(await commitOne(store, takeLease(name, "p", "a", "p")), "port_in_use", /exists already/);
        await attach(store, claim("q", "a", "other"));
        refused(await commitOne(store, takeLease("q", "r", "a", "r")), "conflict", /q is no lease/);
        assert.equal((await store.readPort(name)).binding?.host, "a");
      });
    });

    it("replaces a pre-claim with the lease that the pod has", async () => {
      await withStore(engine, [NET], async store => {
        const { port: lease } = await attach(store, leaseClaim("a", "1"));
        const preclaim = claim("p", "a", "p");
        if (preclaim.kind === "claim") delete preclaim.claim.sandbox;
        const { port: unused } = await attach(store, preclaim);
        refused(await commitOne(store, takeLease("lease:a/2", "p", "a", "p")), "conflict");
        assert.equal((await store.readPort("p")).id, unused.id, "a refusal changes nothing");
        const taken = await attach(store, takeLease(lease.name, "p", "a", "p"));
        assert.deepEqual([taken.port.id, taken.port.epoch], [lease.id, lease.epoch]);
        assert.deepEqual(await namesOf(store), ["p"]);
        // Come late, it finds the pod's port.
        assert.equal((await attach(store, preclaim)).port.id, lease.id);
        const { events } = await store.readEvents({ port: "p" });
        assert.deepEqual(
          events.map(({ type, portId }) => [type, portId === lease.id]),
          [
            ["port.created", false],
            ["port.bound", false],
            ["port.released", false],
            ["port.deleted", false],
            ["port.bound", true],
          ],
        );
        await assertHealthy(store);
      });
    });

    it("replaces no port of another owner, host or sandbox with a lease", async () => {
      await withStore(engine, [NET], async store => {
        const { name } = (await attach(store, leaseClaim("a", "1"))).port;
        const preclaim = (port: string, host: string, uid: string, more: Partial<Claim> = {}) => {
          const item = claim(port, host, uid, more);
          if (item.kind === "claim") delete item.claim.sandbox;
          return item;
        };
        await attach(store, preclaim("other-owner", "a", "q"));
        await attach(store, preclaim("other-host", "b", "p"));
        await attach(store, claim("other-sandbox", "a", "p", { sandbox: { id: "s0", interface: "eth0" } }));
        await attach(store, preclaim("kept", "a", "p", { retention: { policy: "sticky" } }));
        for (const port of ["other-owner", "other-host", "other-sandbox", "kept"]) {
          refused(await commitOne(store, takeLease(name, port, "a", "p")), "port_in_use", /exists already/);
        }
        assert.equal((await store.readPort(name)).binding?.host, "a");
        await assertHealthy(store);
      });
    });

    it("rejects a sticky port from a lease", async () => {
      await withStore(engine, [NET], async store => {
        const { name } = (await attach(store, leaseClaim("a", "1"))).port;
        const sticky = { retention: { policy: "sticky" } } as const;
        refused(
          await commitOne(store, takeLease(name, "p", "a", "p", sticky)),
          "invalid_request",
          /sticky ports are claimed by name/,
        );
        const slot = slotClaim("app", "a", "p", { leasedPort: name });
        refused(await commitOne(store, slot), "invalid_request", /leasedPort/);
        assert.deepEqual(await namesOf(store), [name]);
      });
    });

    it("moves a port that came from a lease to a newer pod of the name", async () => {
      await withStore(engine, [NET], async store => {
        const lease = await attach(store, leaseClaim("a", "1"));
        await attach(store, takeLease(lease.port.name, "p", "a", "p"));
        const moved = await attach(store, claim("p", "b", "q", { owner: bornAt("q", 10) }));
        assert.deepEqual(
          [moved.port.id, moved.port.epoch, addressesOf(moved)],
          [lease.port.id, lease.port.epoch + 1, addressesOf(lease)],
        );
      });
    });
  });
}
