import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Claim, Problem } from "../../../ipam-server/contract/index.ts";
import type { Outcome } from "../../../ipam-server/domain/model/mutation.ts";
import {
  formatRecovery,
  RECOVERY_LIMIT_MS,
  RECOVERY_MIN_MS,
} from "../../../ipam-server/domain/recovery/recovery-state.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  attached,
  Clock,
  claim,
  commitOne,
  network,
  REUSE_DELAY_MS,
  refused,
  release,
  slotClaim,
} from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const NET = network("net", 10, [{ cidr: "10.0.0.0/24" }]);
const SIX = network("net", 10, [{ cidr: "10.0.0.0/24" }, { cidr: "fd00:10::/64" }]);
const STICKY = { retention: { policy: "sticky" } } as const;
const LOST = "host b has 10.0.0.9 plugged for port web since the backup, though the port was protected";
const MAC = "0a:58:0a:00:00:09";

/** What an agent claims for a sandbox that has these addresses. */
const plugged = (name: string, host: string, uid: string, ips: string[], more: Partial<Claim> = {}) =>
  claim(name, host, uid, { plugged: true, ips, ...more });

const check = (store: Store) => store.changeRecovery({ kind: "check" }, "test");
const report = (store: Store, host: string, pending: number) =>
  store.changeRecovery({ kind: "report", report: { host, pending } }, `agent-${host}`);

function problemOf(outcome: Outcome): Problem {
  assert.ok("problem" in outcome, JSON.stringify(outcome));
  return outcome.problem;
}

/** A store as a restore leaves it: `before` ran before the backup. */
async function withRestored(
  engine: Engine,
  hosts: readonly string[],
  before: (store: Store) => Promise<void>,
  body: (store: Store, clock: Clock) => Promise<void>,
): Promise<void> {
  await using database = await engine.createDatabase();
  const clock = new Clock();
  const options = { reuseDelayMs: REUSE_DELAY_MS, clock: clock.read };
  {
    await using store = await database.open(options);
    await store.putNetwork(NET, "test");
    await before(store);
  }
  const table = engine.name === "SQLite" ? "store_state" : "catalog_state";
  const stored = formatRecovery(hosts.map(host => ({ cluster: null, host })));
  await database.execute(`UPDATE ${table} SET recovery = '${stored}'`);
  await using store = await database.open(options);
  await check(store);
  await body(store, clock);
  await assertHealthy(store);
}

export function testRecovery(engine: Engine): void {
  describe(`${engine.name}: recovery after a restore`, () => {
    it("assigns nothing new until every host has reported", async () => {
      const before = async (store: Store) => void (await attach(store, claim("old", "a", "old")));
      await withRestored(engine, ["a", "b"], before, async (store, clock) => {
        const refusal = problemOf(await commitOne(store, claim("new", "a", "new")));
        assert.equal(refusal.code, "unavailable");
        assert.match(refusal.detail, /restored from a backup .* until 2 hosts have reported/);
        const reserve = { kind: "reserve", name: "db", caller: "test", reservation: { networkSelector: "" } } as const;
        assert.equal(problemOf(await commitOne(store, reserve)).code, "unavailable");
        // What is bound is answered, and what ends is ended.
        assert.equal((await attach(store, claim("old", "a", "old"))).port.epoch, 1);
        clock.pass(RECOVERY_MIN_MS);
        assert.deepEqual((await report(store, "a", 2))?.waitingFor, [{ host: "b" }, { host: "a", pending: 2 }]);
        assert.deepEqual((await report(store, "a", 0))?.waitingFor, [{ host: "b" }]);
        assert.equal(await report(store, "b", 0), undefined);
        await attach(store, claim("new", "a", "new"));
        const { events } = await store.readEvents({ limit: 100, type: ["recovery.started", "recovery.ended"] });
        assert.deepEqual(
          events.map(({ type, message, caller }) => [type, message, caller]),
          [
            ["recovery.started", "nothing new is assigned until 2 hosts have reported", "test"],
            ["recovery.ended", "every host has reported", "agent-b"],
          ],
        );
      });
    });

    it("adds no address to a port that is bound or reserved", async () => {
      const four = { families: ["ipv4" as const] };
      const both = { families: ["ipv4" as const, "ipv6" as const] };
      const reserve = (families: typeof four | typeof both) => {
        const reservation = { networkSelector: "", ...families };
        return { kind: "reserve", name: "db", caller: "test", reservation } as const;
      };
      const before = async (store: Store) => {
        await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/24" }, { cidr: "fd00:a::/64" }]), "test");
        await attach(store, claim("old", "a", "old", four));
        await commitOne(store, reserve(four));
      };
      await withRestored(engine, ["a"], before, async store => {
        const restarted = claim("old", "a", "old", { ...both, sandbox: { id: "second", interface: "eth0" } });
        assert.equal(problemOf(await commitOne(store, restarted)).code, "unavailable");
        assert.equal(problemOf(await commitOne(store, reserve(both))).code, "unavailable");
        await store.changeRecovery({ kind: "end" }, "test");
        assert.equal((await attach(store, restarted)).port.fixedIps.length, 2);
      });
    });

    it("waits for hosts that the backup does not know, and for late ones", async () => {
      await withRestored(
        engine,
        [],
        async () => {},
        async (store, clock) => {
          refused(
            await commitOne(store, claim("new", "a", "new")),
            "unavailable",
            /for 30 seconds, in which hosts may/,
          );
          assert.deepEqual((await report(store, "late", 1))?.waitingFor, [{ host: "late", pending: 1 }]);
          clock.pass(RECOVERY_MIN_MS);
          assert.ok(await check(store));
          assert.equal(await report(store, "late", 0), undefined);
        },
      );
    });

    it("ends at its limit or by a person, and names the missing hosts", async () => {
      for (const how of ["limit", "person"]) {
        await withRestored(
          engine,
          ["a", "b"],
          async () => {},
          async (store, clock) => {
            if (how === "limit") clock.pass(RECOVERY_LIMIT_MS);
            const end = how === "limit" ? check(store) : store.changeRecovery({ kind: "end" }, "anna");
            assert.equal(await end, undefined);
            const { events } = await store.readEvents({ limit: 100, type: ["recovery.ended"] });
            assert.match(events[0]?.message ?? "", /without the reports of a, b/);
            await attach(store, claim("new", "a", "new"));
          },
        );
      }
    });

    it("gives a plugged sandbox exactly the address, MAC and slot it has", async () => {
      await withRestored(
        engine,
        ["a"],
        async () => {},
        async store => {
          const { port } = await attach(
            store,
            plugged("web", "a", "w", ["10.0.0.9"], { mac: MAC, networkSelector: "x=y" }),
          );
          assert.deepEqual([addressesOf({ port }), port.mac, port.binding?.host], [["10.0.0.9"], MAC, "a"]);
          const slot = slotClaim("c1/default/app", "a", "s", {
            name: "c1/default/app/4",
            plugged: true,
            ips: ["10.0.0.4"],
          });
          assert.equal(attached(await commitOne(store, slot)).port.name, "c1/default/app/4");
          const net1 = { sandbox: { id: "w", interface: "net1" } };
          assert.deepEqual(addressesOf(await attach(store, plugged("web/net1", "a", "w", ["10.0.0.7"], net1))), [
            "10.0.0.7",
          ]);
          const again = await attach(store, plugged("web", "a", "w", ["10.0.0.9"], { mac: MAC }));
          assert.equal(again.port.epoch, port.epoch);
        },
      );
    });

    it("moves a port of the backup to the address that its sandbox has", async () => {
      const before = async (store: Store) => void (await attach(store, claim("web-0", "a", "old", STICKY)));
      await withRestored(engine, ["a", "b"], before, async store => {
        const owner = { kind: "pod", uid: "new", createdAt: "2026-11-21T00:00:00.000Z" } as const;
        const { port } = await attach(store, plugged("web-0", "b", "new", ["10.0.0.200"], { ...STICKY, owner }));
        assert.deepEqual([addressesOf({ port }), port.binding?.host], [["10.0.0.200"], "b"]);
      });
    });

    it("frees the address of an unbound port of the backup for the sandbox that has it", async () => {
      const before = async (store: Store) => {
        await attach(store, claim("kept", "a", "k", { ...STICKY, ips: ["10.0.0.9"] }));
        await commitOne(store, release("a", "k"));
      };
      await withRestored(engine, ["a"], before, async store => {
        assert.deepEqual(addressesOf(await attach(store, plugged("web", "b", "w", ["10.0.0.9"]))), ["10.0.0.9"]);
        await assert.rejects(store.readPort("kept"), { code: "not_found" });
      });
    });

    it("says so when a protected port loses its address to a plugged sandbox", async () => {
      const before = async (store: Store) => {
        await attach(store, claim("kept", "a", "k", { ...STICKY, ips: ["10.0.0.9"] }));
        await commitOne(store, release("a", "k"));
        await commitOne(store, { kind: "protect", name: "kept", protected: true, caller: "test" });
      };
      await withRestored(engine, ["a"], before, async store => {
        assert.deepEqual(addressesOf(await attach(store, plugged("web", "b", "w", ["10.0.0.9"]))), ["10.0.0.9"]);
        const { events } = await store.readEvents({ type: ["port.deleted"] });
        assert.deepEqual(
          events.map(({ port, addresses, message }) => [port, addresses, message]),
          [["kept", ["10.0.0.9"], LOST]],
        );
      });
    });

    it("keeps a protected port while the claim waits for another host", async () => {
      const before = async (store: Store) => {
        await store.putNetwork(SIX, "test");
        await attach(store, claim("kept", "a", "k", { ...STICKY, ips: ["10.0.0.9", "fd00:10::9"] }));
        await commitOne(store, release("a", "k"));
        await commitOne(store, { kind: "protect", name: "kept", protected: true, caller: "test" });
        await attach(store, claim("old", "a", "o", { ips: ["10.0.0.8", "fd00:10::8"] }));
      };
      await withRestored(engine, ["a"], before, async store => {
        const item = plugged("web", "b", "w", ["10.0.0.9", "fd00:10::8"]);
        assert.equal(problemOf(await commitOne(store, item)).code, "unavailable");
        assert.equal((await store.readPort("kept")).protected, true);
      });
    });

    it("waits with a plugged address for the host that has it in the backup", async () => {
      const before = async (store: Store) => void (await attach(store, claim("old", "a", "o", { ips: ["10.0.0.9"] })));
      await withRestored(engine, ["a"], before, async store => {
        const early = problemOf(await commitOne(store, plugged("web", "b", "w", ["10.0.0.9"])));
        assert.equal(early.code, "unavailable");
        assert.match(
          early.detail,
          /10\.0\.0\.9 is bound to port old on host a in the backup; waiting for that host's report/,
        );
        await report(store, "a", 0);
        assert.equal(problemOf(await commitOne(store, plugged("web", "b", "w", ["10.0.0.9"]))).code, "address_in_use");
        await commitOne(store, release("a", "o"));
        // Within its reuse delay, because it is in use.
        assert.deepEqual(addressesOf(await attach(store, plugged("web", "b", "w", ["10.0.0.9"]))), ["10.0.0.9"]);
      });
    });

    it("waits with a plugged address for a migration's target that has it in the backup", async () => {
      const before = async (store: Store) => {
        await attach(store, claim("vm", "a", "source", { ips: ["10.0.0.9"] }));
        await attach(store, claim("vm", "b", "target", { migration: { id: "m1" } }));
        await commitOne(store, release("a", "source"));
      };
      await withRestored(engine, ["b"], before, async store => {
        const web = plugged("web", "c", "w", ["10.0.0.9"]);
        assert.equal(problemOf(await commitOne(store, web)).code, "unavailable");
        assert.equal((await store.readPort("vm")).inactiveBinding?.host, "b");
        await commitOne(store, release("b", "target"));
        assert.deepEqual(addressesOf(await attach(store, web)), ["10.0.0.9"]);
      });
    });

    it("waits with a name that another owner has in the backup for that owner's host", async () => {
      const labels = { ...STICKY, nameFrom: "labels" } as const;
      const before = async (store: Store) => void (await attach(store, claim("shard", "a", "old", labels)));
      await withRestored(engine, ["a"], before, async store => {
        const moved = plugged("shard", "b", "new", ["10.0.0.1"], labels);
        const early = problemOf(await commitOne(store, moved));
        assert.equal(early.code, "unavailable");
        assert.match(early.detail, /in the backup; waiting for host a's report/);
        await commitOne(store, release("a", "old"));
        assert.equal((await attach(store, moved)).port.binding?.host, "b");
      });
    });

    it("makes a migration's target wait for its source", async () => {
      const migration = { migration: { id: "m1" } };
      await withRestored(
        engine,
        ["a", "b"],
        async () => {},
        async store => {
          const target = plugged("vm", "b", "target", ["10.0.0.9"], migration);
          assert.equal(problemOf(await commitOne(store, target)).code, "unavailable");
          await attach(store, plugged("vm", "a", "source", ["10.0.0.9"]));
          const { port } = await attach(store, target);
          assert.deepEqual([port.binding?.host, port.inactiveBinding?.host], ["a", "b"]);
        },
      );
    });

    it("names what a claim of something plugged lacks", async () => {
      await withStore(engine, [NET], async store => {
        const lacking = async (more: Partial<Claim>, field: string, pattern: RegExp) => {
          const item = plugged("web", "a", "w", ["10.0.0.9"], more);
          if (item.kind === "claim" && field === "sandbox") delete item.claim.sandbox;
          const refusal = problemOf(await commitOne(store, item));
          assert.deepEqual([refusal.code, refusal.field], ["invalid_request", field]);
          assert.match(refusal.detail, pattern);
        };
        await lacking({}, "sandbox", /sandbox is missing/);
        await lacking({ ips: [] }, "ips", /ips is missing/);
        await lacking({ ips: ["192.0.2.1"] }, "ips", /192\.0\.2\.1 is in no subnet that this host reaches/);
        await lacking({ slotOf: { application: "c1/default/app" } }, "name", /expected a slot of slotOf.application/);
      });
    });
  });
}
