import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Claim, IpamError, type Port } from "../../../ipam-server/contract/index.ts";
import type { TransferNetwork, TransferPort, TransferRow } from "../../../ipam-server/domain/transfer/transfer.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  Clock,
  claim,
  commitOne,
  network,
  REUSE_DELAY_MS,
  refused,
} from "../support/builders.ts";
import { collect, fill, importAll, NETWORKS, sealed, WEB_SET } from "../support/transfer-content.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

type Change = (rows: TransferRow[]) => void;

const find = <K extends TransferRow["kind"]>(rows: TransferRow[], kind: K, name?: string) => {
  const row = rows.find(each => each.kind === kind && (name === undefined || ("name" in each && each.name === name)));
  assert.ok(row);
  return row as Extract<TransferRow, { kind: K }>;
};
const port = (rows: TransferRow[], name: string): TransferPort => find(rows, "port", name);
const dual = (rows: TransferRow[]): TransferNetwork => find(rows, "network", "dual");

/** What a stream may say that cannot be. */
const WRONG: [what: string, change: Change, message: RegExp][] = [
  ["a network twice", rows => rows.splice(1, 0, structuredClone(dual(rows))), /network dual appears twice/],
  [
    "networks that overlap",
    rows => Object.assign(find(rows, "network", "flat"), { vpc: "blue", subnets: dual(rows).subnets }),
    /overlaps/,
  ],
  ["a network of an unknown shape", rows => Object.assign(dual(rows), { mtu: 12 }), /spec\.mtu/],
  [
    "another range than the pools'",
    rows => Object.assign(dual(rows).subnets[0]?.pools[0] ?? {}, { range: "10.0.0.10-10.0.0.13" }),
    /range: .*10\.0\.0\.10-10\.0\.0\.11/,
  ],
  ["a range too few", rows => dual(rows).subnets[0]?.pools.pop(), /subnets\[0\]\.pools/],
  [
    "a cursor after the end of its range",
    rows => Object.assign(dual(rows).subnets[0]?.pools[0] ?? {}, { passed: "3" }),
    /passed: 3 is more/,
  ],
  [
    "a cursor that passed addresses without a holder",
    rows =>
      Object.assign(find(rows, "network", "unused"), {}) &&
      Object.assign(find(rows, "network", "six").subnets[0]?.pools[0] ?? {}, { passed: "5" }),
    /import is inconsistent.*below the cursor/,
  ],
  [
    "a counter that is not so",
    rows => Object.assign(dual(rows).subnets[0] ?? {}, { held: 3 }),
    /import is inconsistent.*held counter/,
  ],
  [
    "a port of no network",
    rows => Object.assign(port(rows, "vm"), { network: "none" }),
    /network: there is no network row for none/,
  ],
  [
    "an address of no subnet",
    rows => Object.assign(port(rows, "vm"), { addresses: ["10.9.0.1"] }),
    /addresses\[0\]: 10\.9\.0\.1 is in no subnet of network dual/,
  ],
  [
    "an address of two ports",
    rows => Object.assign(port(rows, "vm"), { addresses: port(rows, "c1/default/web-0").addresses }),
    /port vm duplicates an earlier row/,
  ],
  [
    "a name of two ports",
    rows => Object.assign(port(rows, "vm"), { name: "c1/default/web-0" }),
    /port c1\/default\/web-0 duplicates/,
  ],
  [
    "a MAC of two ports",
    rows => Object.assign(port(rows, "vm"), { mac: port(rows, "c1/default/web-0").mac }),
    /port vm duplicates/,
  ],
  ["a key that does not ascend", rows => Object.assign(port(rows, "vm"), { key: 1 }), /key: 1 is not greater/],
  [
    "a key that was not given out yet",
    rows => Object.assign(find(rows, "state"), { nextPortKey: 1 }),
    /import is inconsistent.*key/,
  ],
  [
    "an address both held and freed",
    rows => Object.assign(find(rows, "freed"), { address: port(rows, "vm").addresses[0], pooled: false }),
    /import is inconsistent/,
  ],
  [
    "a freed address in no pool that is said to be in one",
    rows => Object.assign(find(rows, "freed"), { address: "10.0.0.251", pooled: true }),
    /pooled: true, but 10\.0\.0\.251 is in no pool/,
  ],
  [
    "a cooling address outside its subnet",
    rows => Object.assign(find(rows, "cooling"), { address: "10.6.0.1" }),
    /address: 10\.6\.0\.1 is not in subnet 10\.5\.0\.0\/29/,
  ],
  [
    "a cooling address of no subnet",
    rows => Object.assign(find(rows, "cooling"), { subnet: "10.5.0.1/29" }),
    /subnet: "10\.5\.0\.1\/29" is not a CIDR/,
  ],
  [
    "a cooling address of a subnet that is declared",
    rows =>
      Object.assign(find(rows, "cooling"), { segment: "physnet1/10", subnet: "10.0.0.0/29", address: "10.0.0.2" }),
    /address: 10\.0\.0\.2 is in subnet 10\.0\.0\.0\/24 of network dual/,
  ],
  [
    "a cooling address twice",
    rows => rows.splice(rows.indexOf(find(rows, "cooling")), 0, structuredClone(find(rows, "cooling"))),
    /cooling address 10\.5\.0\.1 duplicates an earlier row/,
  ],
  ["rows out of order", rows => rows.reverse(), /kind: a cluster row after the state row/],
  ["a network after ports", rows => rows.splice(-1, 0, dual(rows)), /kind: a network row after a cluster row/],
  ["a cluster twice", rows => rows.splice(-1, 0, find(rows, "cluster", "c2")), /name: cluster c2 does not follow/],
  [
    "a UID of two clusters",
    rows => Object.assign(find(rows, "cluster", "c2"), { uid: "uid-1" }),
    /uid: uid-1 is that of cluster c1 too/,
  ],
  ["no state", rows => rows.pop(), /the state row is missing/],
];

export function testTransfer(engine: Engine): void {
  describe(`${engine.name}: export and import`, () => {
    it("imports the same content, epochs, cursors and queues", async () => {
      await withStore(engine, [], async (store, clock) => {
        await fill(store, clock);
        const rows = await collect(store);
        const { lastSeq } = await store.readEvents({ limit: 1 });
        await using database = await engine.createDatabase();
        await using other = await database.open({ reuseDelayMs: REUSE_DELAY_MS, clock: clock.read });
        const { digest, ...counts } = await importAll(other, rows);
        assert.match(digest, /^sha256:[0-9a-f]{64}$/);
        const ports = rows.filter(({ kind }) => kind === "port").length;
        assert.deepEqual(counts, { networks: NETWORKS.length, ports, freed: 5 });
        assert.deepEqual(await collect(other), rows);
        await assertHealthy(other);
        assert.deepEqual(await other.readNetworks(), await store.readNetworks());
        assert.deepEqual(await other.readPorts({}), await store.readPorts({}));
        assert.deepEqual(await other.readEvents({}), { events: [], lastSeq, oldestSeq: lastSeq + 1 });
        const next = async (of: typeof store) => {
          const attachments = [
            await attach(of, claim("c1/default/web-0", "b", "n1", { networkSelector: "env=dual", workload: WEB_SET })),
            await attach(of, claim("n2", "b", "n2", { networkSelector: "env=dual" })),
            await attach(of, claim("n3", "b", "n3", { networkSelector: "env=six" })),
          ];
          // Without an IPv4 address it is made of the port's key, and each replica of PostgreSQL has its own keys.
          const macOf = ({ mac, fixedIps }: Port) => fixedIps.some(({ address }) => address.includes(".")) && mac;
          return attachments.map(({ port }) => [port.name, macOf(port), addressesOf({ port }), port.epoch]);
        };
        assert.deepEqual(await next(other), await next(store));
        const before = clock.now;
        for (const each of [store, other]) {
          // Both at the same times: freed addresses wait, then come in order of their release.
          clock.now = before;
          refused(await commitOne(each, claim("q1", "b", "q1")), "no_address_available");
          clock.pass(REUSE_DELAY_MS);
          const taken = [];
          for (const uid of ["q1", "q2", "q3"]) taken.push(...addressesOf(await attach(each, claim(uid, "b", uid))));
          assert.deepEqual(taken, ["10.1.0.4", "10.1.0.2", "10.1.0.5"]);
        }
        assert.deepEqual((await other.readEvents({ limit: 1 })).events[0]?.seq, lastSeq + 1);
        await assertHealthy(other);
      });
    });

    it("keeps the reuse delay of removed subnets' addresses", async () => {
      const rows = await withRows(engine);
      await withStore(engine, [], async (store, clock) => {
        await importAll(store, rows);
        const ips = ["10.5.0.1", "fd00::5:8000:0:0:1"];
        for (const [name, vlan] of [["past", 9] as const, ["former", 14] as const]) {
          const again = [{ cidr: "10.5.0.0/24" }, { cidr: "fd00:0:0:5::/64" }];
          await store.putNetwork(network(name, vlan, again, { vpc: name }, { env: name }), "test");
          const { freed } = find(await collect(store), "network", name).subnets[0] ?? {};
          assert.equal(freed, 1);
          const asked = claim(`new-${name}`, "a", `new-${name}`, { networkSelector: `env=${name}`, ips });
          refused(await commitOne(store, asked), "address_in_use", new RegExp(`port ${name}`));
        }
        clock.pass(REUSE_DELAY_MS);
        await assertHealthy(store);
      });
    });

    it("keeps when a sandbox began, so that an earlier one stays refused", async () => {
      const rows = await withRows(engine);
      await withStore(engine, [], async (store, clock) => {
        await importAll(store, rows);
        const attemptedAt = new Date(clock.now - 1000).toISOString();
        const more = { networkSelector: "env=dual", workload: WEB_SET, attemptedAt };
        const { claim: late } = claim("c1/default/web-0", "a", "s1", more) as { claim: Claim };
        const again = claim("c1/default/web-0", "a", "s1", { ...late, sandbox: { id: "s0", interface: "eth0" } });
        refused(await commitOne(store, again), "stale_owner", /s1, begun at .* later than s0/);
      });
    });

    it("imports an export of an earlier version", async () => {
      const rows = structuredClone(await withRows(engine)).filter(({ kind }) => kind !== "cooling");
      for (const row of rows) {
        if (row.kind !== "port") continue;
        delete row.binding?.attemptedAt;
        delete row.inactive?.attemptedAt;
      }
      await withStore(engine, [], async store => {
        await importAll(store, rows);
        assert.deepEqual(await collect(store), rows);
      });
    });

    it("keeps an import after a crash and a restart", async () => {
      const clock = new Clock();
      let rows: TransferRow[] = [];
      await withStore(engine, [], async (store, itsClock) => {
        await fill(store, itsClock);
        clock.now = itsClock.now;
        rows = await collect(store);
      });
      await using database = await engine.createDatabase();
      const store = await database.open({ reuseDelayMs: REUSE_DELAY_MS, clock: clock.read });
      await importAll(store, rows);
      await database.crash();
      await using again = await database.open({ reuseDelayMs: REUSE_DELAY_MS, clock: clock.read });
      assert.deepEqual(await collect(again), rows);
      await assertHealthy(again);
    });

    it("rejects an import into a store that is not empty before reading it", async () => {
      await withStore(engine, NETWORKS.slice(0, 1), async store => {
        let asked = false;
        const rows = (async function* () {
          asked = true;
          yield* sealed([]);
        })();
        await assert.rejects(store.importRows(rows), (error: unknown) => {
          assert.ok(error instanceof IpamError && error.code === "conflict", String(error));
          assert.match(error.message, /not empty \(networks: 1, ports: 0/);
          return true;
        });
        assert.ok(!asked);
      });
    });

    it("makes one export at a time, and no import during it", async () => {
      await withStore(engine, [], async store => {
        const isOverloaded = (error: unknown) => error instanceof IpamError && error.code === "overloaded";
        const first = store.exportRows()[Symbol.asyncIterator]();
        await first.next();
        await assert.rejects(collect(store), isOverloaded);
        await assert.rejects(store.importRows(sealed([])), isOverloaded);
        // Its reader leaves.
        await first.return?.();
        assert.equal((await collect(store)).length, 1);
      });
    });

    it("serves nothing else during an import, and writes nothing if it fails", async () => {
      await withStore(engine, [], async (store, clock) => {
        const [first] = await withRows(engine);
        assert.ok(first);
        const gate = Promise.withResolvers<void>();
        const entered = Promise.withResolvers<void>();
        const broken = (async function* () {
          yield first;
          entered.resolve();
          await gate.promise;
          throw new IpamError("invalid_request", "broken off");
        })();
        const importing = assert.rejects(store.importRows(broken), /broken off/);
        await Promise.race([entered.promise, importing]);
        const isBusy = (error: unknown) => error instanceof IpamError && error.code === "unavailable";
        await assert.rejects(store.ready(), isBusy);
        assert.equal(await store.collectExpired(), 0, "the clock continues after the import");
        await assert.rejects(store.commit([claim("p", "a", "p")]), isBusy);
        gate.resolve();
        await importing;
        await store.ready();
        assert.deepEqual(await store.readNetworks(), []);
        await fill(store, clock);
      });
    });

    for (const [what, change, message] of WRONG) {
      it(`rejects ${what}, and writes nothing`, async () => {
        const rows = structuredClone(await withRows(engine));
        change(rows);
        await withStore(engine, [], async store => {
          await assert.rejects(importAll(store, rows), (error: unknown) => {
            assert.ok(error instanceof IpamError, String(error));
            assert.match(error.message, message);
            return true;
          });
          assert.deepEqual(await collect(store), [{ kind: "state", lastSeq: 0, nextPortKey: 1, epochFloor: 0 }]);
        });
      });
    }
  });
}

let filled: Promise<TransferRow[]> | undefined;

/** The rows of a filled store, made once. */
function withRows(engine: Engine): Promise<TransferRow[]> {
  filled ??= (async () => {
    let rows: TransferRow[] = [];
    await withStore(engine, [], async (store, clock) => {
      await fill(store, clock);
      rows = await collect(store);
    });
    return rows;
  })();
  return filled;
}
