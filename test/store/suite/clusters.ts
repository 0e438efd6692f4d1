import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ClusterRegistration } from "../../../ipam-server/contract/index.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { attach, claim, network, REUSE_DELAY_MS } from "../support/builders.ts";
import { collect, importAll } from "../support/transfer-content.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NET = network("net", 10, [{ cidr: "10.0.0.0/24" }]);

const register = (store: Store, name: string, uid: string, heldPass?: ClusterRegistration["heldPass"]) =>
  store.changeCluster(
    name,
    { kind: "register", registration: { uid, ...(heldPass !== undefined && { heldPass }) } },
    "me",
  );
const held = (id: string) => ({ id, releases: 30, deletions: 2, ports: 100 });
const events = async (store: Store) =>
  (await store.readEvents({})).events.filter(({ cluster }) => cluster === "c1").map(({ type }) => type);

export function testClusters(engine: Engine): void {
  describe(`${engine.name}: clusters`, () => {
    it("keeps a name for the first UID, and a UID under its first name", async () => {
      await withStore(engine, [], async store => {
        const first = await register(store, "c1", "uid-1");
        assert.deepEqual(await register(store, "c1", "uid-1"), first);
        await register(store, "c2", "uid-2");
        await assert.rejects(register(store, "c1", "uid-3"), {
          code: "conflict",
          message: /name c1 belongs to .* UID uid-1, .* this cluster's is uid-3.*cluster=NAME/,
        });
        await assert.rejects(register(store, "c3", "uid-1"), { code: "conflict", message: /registered as c1/ });
        assert.deepEqual(
          (await store.readClusters()).map(({ name, uid }) => [name, uid]),
          [
            ["c1", "uid-1"],
            ["c2", "uid-2"],
          ],
        );
        assert.deepEqual(await events(store), ["cluster.registered"]);
        await store.changeCluster("c1", { kind: "remove" }, "me");
        await register(store, "c1", "uid-3");
      });
    });

    it("keeps a held pass until it is confirmed, replaced or over", async () => {
      await withStore(engine, [], async store => {
        const confirm = (pass: string) => store.changeCluster("c1", { kind: "confirm", pass }, "me");
        await assert.rejects(confirm("p1"), { code: "not_found" });
        await register(store, "c1", "uid-1");
        await assert.rejects(confirm("p1"), { code: "conflict", message: /nothing to confirm/ });
        await register(store, "c1", "uid-1", held("p1"));
        await register(store, "c1", "uid-1", held("p2"));
        await assert.rejects(confirm("p1"), { code: "conflict", message: /holds pass p2, not p1/ });
        assert.ok((await confirm("p2"))?.heldPass?.confirmedUntil);
        const again = await register(store, "c1", "uid-1", held("p2"));
        assert.ok(again?.heldPass?.confirmedUntil, "the same pass stays confirmed");
        assert.equal((await register(store, "c1", "uid-1"))?.heldPass?.id, "p2", "an agent leaves it as it is");
        assert.equal((await register(store, "c1", "uid-1", null))?.heldPass, undefined);
        assert.deepEqual(await events(store), [
          "cluster.registered",
          "cluster.held",
          "cluster.held",
          "cluster.confirmed",
          "cluster.registered",
        ]);
      });
    });

    it("purges a cluster's ports only, and unbinds its reserved ones", async () => {
      await withStore(engine, [NET], async store => {
        const inCluster = (cluster: string) => ({
          cluster,
          namespace: "default",
          retention: { policy: "sticky" } as const,
        });
        await attach(store, claim("c1/default/a", "n1", "s1", inCluster("c1")));
        await attach(store, claim("c2/default/a", "n1", "s2", inCluster("c2")));
        await store.commit([{ kind: "reserve", name: "db", reservation: { networkSelector: "" }, caller: "me" }]);
        await attach(store, claim("db", "n1", "s3", { ...inCluster("c1"), nameFrom: "reserved" }));
        const names = ["c1/default/a", "c2/default/a", "db", "none"];
        const outcomes = await store.commit(
          names.map(name => ({ kind: "purgePort", name, cluster: "c1", caller: "me" }) as const),
        );
        assert.deepEqual(
          outcomes.map(outcome => "purged" in outcome && outcome.purged),
          ["deleted", "kept", "unbound", "kept"],
        );
        await assert.rejects(store.readPort("c1/default/a"), { code: "not_found" });
        assert.ok((await store.readPort("c2/default/a")).binding);
        const db = await store.readPort("db");
        assert.deepEqual([db.binding, db.cluster], [undefined, undefined]);
        assert.deepEqual(await store.check(), []);
      });
    });

    it("exports and imports the registered clusters", async () => {
      await withStore(engine, [NET], async store => {
        await register(store, "c2", "uid-2");
        await register(store, "c1", "uid-1", held("p1"));
        const rows = await collect(store);
        await using database = await engine.createDatabase();
        await using other = await database.open({ reuseDelayMs: REUSE_DELAY_MS, clock: Date.now });
        await importAll(other, rows);
        const expected = (await store.readClusters()).map(({ heldPass: _, ...cluster }) => cluster);
        assert.deepEqual(await other.readClusters(), expected);
      });
    });
  });
}
