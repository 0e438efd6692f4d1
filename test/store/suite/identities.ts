import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Claim, NameFrom, OwnerKind, Workload } from "../../../ipam-server/contract/index.ts";
import { addressesOf, attach, bornAt, claim, commitOne, network, refused, release } from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NAME = "c1/default/db";
const networks = [network("net", 10, [{ cidr: "10.0.0.0/24" }])];
const sticky = { retention: { policy: "sticky" } } as const;

interface Bearer {
  kind: OwnerKind;
  workload?: Workload["kind"];
  nameFrom: NameFrom;
}

/** Who may bear one name, each with what a message calls it. */
const BEARERS: Record<string, [bearer: Bearer, text: RegExp]> = {
  machine: [{ kind: "vm", workload: "VirtualMachine", nameFrom: "pod" }, /VirtualMachine db \(named after itself\)/],
  set: [{ kind: "pod", workload: "StatefulSet", nameFrom: "pod" }, /StatefulSet db \(named after itself\)/],
  pod: [{ kind: "pod", nameFrom: "pod" }, /a pod \(named after itself\)/],
  device: [{ kind: "device", nameFrom: "pod" }, /a device \(named after itself\)/],
  labels: [{ kind: "pod", workload: "Deployment", nameFrom: "labels" }, /Deployment db \(named by labels\)/],
  reserved: [{ kind: "pod", workload: "Deployment", nameFrom: "reserved" }, /Deployment db \(by a reserved name\)/],
};

/** The owner is born so many seconds after the first. */
function claimBy({ kind, workload, nameFrom }: Bearer, uid: string, seconds: number, more: Partial<Claim> = {}) {
  return claim(NAME, "a", uid, {
    owner: { ...bornAt(uid, seconds), kind },
    nameFrom,
    cluster: "c1",
    namespace: "default",
    ...(workload && { workload: { kind: workload, namespace: "default", name: "db" } }),
    ...sticky,
    ...more,
  });
}

/** Kind of owner and source of the name are part of a port's name. */
export function testIdentities(engine: Engine): void {
  describe(`${engine.name}: owners of one name`, () => {
    for (const [first, [bearer, text]] of Object.entries(BEARERS)) {
      it(`keeps the port of a ${first} from any other kind or source, bound or not`, async () => {
        await withStore(engine, networks, async store => {
          if (bearer.nameFrom === "reserved") {
            await commitOne(store, {
              kind: "reserve",
              caller: "test",
              name: NAME,
              reservation: { networkSelector: "env=test" },
            });
          }
          const before = await attach(store, claimBy(bearer, "first", 0));
          const others = Object.entries(BEARERS).filter(([name]) => name !== first);
          const refuseOthers = async (how: RegExp) => {
            for (const [name, [other, otherText]] of others) {
              const outcome = await commitOne(store, claimBy(other, name, 60));
              // A name that is not reserved cannot be claimed as one.
              if (other.nameFrom === "reserved") refused(outcome, "forbidden");
              else for (const part of [how, text, otherText, /delete port/]) refused(outcome, "port_in_use", part);
            }
          };
          await refuseOthers(/is bound on host a to/);
          await store.commit([release("a", "first")]);
          await refuseOthers(/is kept for/);
          const after = await attach(store, claimBy(bearer, "second", 120));
          assert.deepEqual([after.port.id, addressesOf(after)], [before.port.id, addressesOf(before)]);
        });
      });
    }

    it("never makes a kept port ephemeral by a claim", async () => {
      await withStore(engine, networks, async store => {
        const [set] = BEARERS.set ?? [];
        assert.ok(set);
        await attach(store, claimBy(set, "first", 0));
        await store.commit([release("a", "first")]);
        const orphan = await attach(store, claim(NAME, "b", "first", { retention: { policy: "ephemeral" } }));
        assert.deepEqual([orphan.port.retention, orphan.port.workload?.kind], [{ policy: "sticky" }, "StatefulSet"]);
        const ttl = { policy: "sticky", ttlSeconds: 60 } as const;
        const brief = await attach(store, claimBy(set, "second", 1, { retention: ttl }));
        assert.deepEqual(brief.port.retention, ttl);
        await attach(store, claimBy(set, "third", 2, { retention: { policy: "ephemeral" } }));
        await store.commit([release("a", "third")]);
        assert.deepEqual((await store.readPort(NAME)).retention, ttl);
      });
    });

    it("lets a name that people choose pass between kinds of controllers", async () => {
      await withStore(engine, networks, async store => {
        const byLabels = (workload: Workload["kind"]): Bearer => ({ kind: "pod", workload, nameFrom: "labels" });
        await attach(store, claimBy(byLabels("Deployment"), "first", 0));
        await store.commit([release("a", "first")]);
        const after = await attach(store, claimBy(byLabels("StatefulSet"), "second", 1));
        assert.equal(after.port.workload?.kind, "StatefulSet");
      });
    });

    it("takes no bound port from a machine outside Kubernetes by a later time", async () => {
      await withStore(engine, networks, async store => {
        for (const kind of ["vm", "device"] as const) {
          const machine = (uid: string, seconds: number) =>
            claim(kind, "a", uid, { owner: { ...bornAt(uid, seconds), kind }, ...sticky });
          await attach(store, machine(`${kind}-1`, 0));
          refused(await commitOne(store, machine(`${kind}-2`, 60)), "port_in_use", /when that binding is released/);
          await store.commit([release("a", `${kind}-1`)]);
          await attach(store, machine(`${kind}-2`, -60));
        }
        const launcher: Bearer = { kind: "vm", workload: "VirtualMachine", nameFrom: "pod" };
        await attach(store, claimBy(launcher, "launcher-1", 0));
        assert.equal((await attach(store, claimBy(launcher, "launcher-2", 60))).port.owner?.uid, "launcher-2");
        refused(await commitOne(store, claimBy(launcher, "launcher-1", 0)), "stale_owner");
      });
    });
  });
}
