import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { NetworkManifest, PortQuery } from "../../../ipam-server/contract/index.ts";
import { addEvents } from "../support/add-events.ts";
import { attach, bornAt, Clock, claim, network, REUSE_DELAY_MS, release, START } from "../support/builders.ts";
import type { Engine } from "./engine.ts";
import { withStore } from "./with-store.ts";

const networks = [network("net", 10, [{ cidr: "10.0.0.0/24" }, { cidr: "fd00::/64" }])];
const sticky = { retention: { policy: "sticky" } } as const;

export function testHistory(engine: Engine): void {
  describe(`${engine.name}: queries`, () => {
    it("finds a port's events by name, address and MAC, even when deleted", async () => {
      await withStore(engine, networks, async store => {
        const mac = "02:00:00:00:00:01";
        await attach(store, claim("web", "a", "s1", { mac, ...sticky }));
        await attach(store, claim("web", "b", "s2", { owner: bornAt("s2", 1), ...sticky }));
        const expected = ["port.created", "port.bound", "port.moved"];
        const trails = async () => [
          await store.readEvents({ port: "web" }),
          await store.readEvents({ ip: "10.0.0.1" }),
          await store.readEvents({ ip: "fd00:0::0001" }),
          await store.readEvents({ mac }),
        ];
        for (const { events } of await trails())
          assert.deepEqual(
            events.map(({ type }) => type),
            expected,
          );
        await store.commit([release("b", "s2"), { kind: "deletePort", name: "web", caller: "admin" }]);
        for (const { events } of await trails()) {
          assert.deepEqual(
            events.map(({ type }) => type),
            [...expected, "port.released", "port.deleted"],
          );
          assert.deepEqual(
            [events.at(-1)?.caller, events[2]?.host, events[2]?.fromHost, events[2]?.epoch],
            ["admin", "b", "a", 2],
          );
        }
        await attach(store, claim("other", "a", "s3"));
        assert.deepEqual(
          (await store.readEvents({ port: "other" })).events.map(({ type }) => type),
          ["port.created", "port.bound"],
        );
      });
    });

    it("lists events in order, after any of them, by host and type", async () => {
      await withStore(engine, networks, async store => {
        const seen: number[] = [];
        using stack = new DisposableStack();
        stack.defer(store.onEvents(seq => seen.push(seq)));
        await store.commit([claim("p", "a", "s1"), claim("q", "b", "s2")]);
        const { events, lastSeq } = await store.readEvents({});
        assert.deepEqual(
          events.map(({ seq }) => seq),
          [1, 2, 3, 4, 5],
        );
        assert.deepEqual([seen, lastSeq], [[5], 5]);
        assert.deepEqual(
          (await store.readEvents({ after: 3, limit: 1 })).events.map(({ seq }) => seq),
          [4],
        );
        const page = await store.readEvents({ after: 1, limit: 2 });
        assert.deepEqual([page.events.map(({ seq }) => seq), page.nextAfter], [[2, 3], 3]);
        assert.equal((await store.readEvents({ after: 3 })).nextAfter, undefined);
        assert.deepEqual(
          (await store.readEvents({ host: "b", type: ["port.bound"] })).events.map(({ port }) => port),
          ["q"],
        );
      });
    });

    it("scans a limited span for a page when few events match, and names the next page", async () => {
      await using database = await engine.createDatabase();
      const options = { reuseDelayMs: REUSE_DELAY_MS, clock: new Clock().read };
      const open = async (uid: string) => {
        await using store = await database.open(options);
        await store.putNetwork(networks[0] as NetworkManifest, "test");
        await attach(store, claim(uid, "quiet", uid));
      };
      await open("early");
      await addEvents(engine, database, 4, 150_000);
      await addEvents(engine, database, 900_000_000_000, 10);
      await open("late");
      await using store = await database.open(options);
      const pages: (string | undefined)[][] = [];
      const nexts: (number | undefined)[] = [];
      for (let after: number | undefined = 0; after !== undefined; ) {
        const page = await store.readEvents({ after, type: ["port.bound"], host: "quiet" });
        pages.push(page.events.map(({ port }) => port));
        nexts.push(page.nextAfter);
        after = page.nextAfter;
      }
      assert.deepEqual(
        [pages, nexts],
        [
          [["early"], [], ["late"]],
          [100_000, 200_000, undefined],
        ],
      );
      // A port's events are found by an index, on the first page.
      const { events, nextAfter } = await store.readEvents({ port: "late" });
      assert.deepEqual([events.map(({ type }) => type), nextAfter], [["port.created", "port.bound"], undefined]);
    });

    it("prunes events past their retention, and keeps counting", async () => {
      const options = { eventRetentionMs: 1000 };
      await withStore(
        engine,
        networks,
        async (store, clock) => {
          await attach(store, claim("gone", "a", "s1"));
          await store.commit([release("a", "s1")]);
          clock.pass(1001);
          await attach(store, claim("new", "a", "s2"));
          const { events, lastSeq, oldestSeq } = await store.readEvents({});
          assert.deepEqual([events.map(({ port }) => port), oldestSeq, lastSeq], [["new", "new"], 6, 7]);
          assert.deepEqual((await store.readEvents({ port: "gone" })).events, []);
        },
        options,
      );
    });

    it("prunes by age when the oldest events carry times of a clock that was ahead", async () => {
      await withStore(
        engine,
        networks,
        async (store, clock) => {
          clock.pass(365 * 86_400_000);
          await store.commit(Array.from({ length: 30 }, (_, index) => claim(`ahead${index}`, "a", `a${index}`)));
          for (let index = 0; index < 5; index++) await attach(store, claim(`more${index}`, "a", `m${index}`));
          clock.pass(-365 * 86_400_000);
          await store.commit(Array.from({ length: 150 }, (_, index) => claim(`right${index}`, "a", `r${index}`)));
          await attach(store, claim("early", "a", "early"));
          const kept = await store.readEvents({ port: "ahead0" });
          assert.equal(kept.events.length, 2, "no event is older than the retention");
          clock.pass(1001);
          for (let index = 0; index < 20; index++) await attach(store, claim(`new${index}`, "a", `n${index}`));
          const { events } = await store.readEvents({ limit: 1 });
          assert.match(events[0]?.port ?? "", /^new/);
          assert.deepEqual((await store.readEvents({ port: "ahead0" })).events, []);
        },
        { eventRetentionMs: 1000 },
      );
    });

    it("keeps the newest events that fit into the size of the history", async () => {
      const options = { eventBytes: 20_000 };
      await withStore(
        engine,
        networks,
        async store => {
          for (let life = 0; life < 100; life++) {
            await attach(store, claim("old", "a", `s${life}`, { owner: bornAt(`s${life}`, life) }));
            await store.commit([release("a", `s${life}`)]);
          }
          await attach(store, claim("new", "a", "new"));
          const { events, lastSeq, oldestSeq } = await store.readEvents({ limit: 1000 });
          assert.equal(lastSeq, 403);
          assert.equal(events.length, lastSeq - oldestSeq + 1);
          assert.ok(events.length > 20 && events.length < 100, `${events.length} events`);
          const { database, events: size, oldestEventTime } = await store.readUsage();
          assert.ok(size > 10_000 && size <= 21_000, `${size} bytes`);
          assert.ok(database > size);
          assert.equal(oldestEventTime, START);
          // A larger commit grows the history, and the next ones shrink it again.
          await store.commit(Array.from({ length: 100 }, (_, index) => claim(`p${index}`, "a", `p${index}`)));
          for (let index = 0; index < 20; index++) await store.commit([release("a", `p${index}`)]);
          const kept = await store.readEvents({ limit: 1000 });
          assert.ok(kept.events.length < 100, `${kept.events.length} events`);
          assert.equal(kept.events.at(-1)?.type, "port.deleted");
        },
        options,
      );
    });

    it("lists ports by each filter, page by page", async () => {
      await withStore(engine, networks, async store => {
        const labels = (index: number) => ({ labels: { shard: String(index % 2) }, cluster: `c${index % 2}` });
        await store.commit(
          Array.from({ length: 10 }, (_, index) =>
            claim(`p${index}`, index < 3 ? "a" : "b", `s${index}`, { ...labels(index), ...sticky }),
          ),
        );
        await store.commit([release("a", "s1")]);
        const find = async (query: PortQuery) => (await store.readPorts(query)).ports.map(({ name }) => name).join(" ");
        assert.equal(await find({ name: "p3" }), "p3");
        assert.equal(await find({ host: "a" }), "p0 p2");
        assert.equal(await find({ ip: "10.0.0.5" }), "p4");
        assert.equal(await find({ mac: "0A:58:0A:00:00:05" }), "p4");
        assert.equal(await find({ label: "shard in (1)", host: "b" }), "p3 p5 p7 p9");
        assert.equal(await find({ state: "unbound" }), "p1");
        assert.equal(await find({ state: "BUILD_ACTIVE", cluster: "c0" }), "p0 p2 p4 p6 p8");
        assert.equal(await find({ network: "none" }), "");
        const first = await store.readPorts({ label: "shard=1", limit: 2 });
        const second = await store.readPorts({ label: "shard=1", limit: 2, cursor: first.nextCursor ?? "" });
        const third = await store.readPorts({ label: "shard=1", limit: 2, cursor: second.nextCursor ?? "" });
        const names = [first, second, third].map(({ ports }) => ports.map(({ name }) => name).join(" "));
        assert.deepEqual([names, third.nextCursor], [["p1 p3", "p5 p7", "p9"], undefined]);
        await assert.rejects(store.readPorts({ state: "UP" }), { code: "invalid_request", message: /ACTIVE_ACTIVE/ });
        await assert.rejects(store.readPorts({ ip: "x" }), { code: "invalid_request" });
      });
    });

    it("keeps everything when the store is opened again", async () => {
      await using database = await engine.createDatabase();
      const options = { reuseDelayMs: REUSE_DELAY_MS, clock: new Clock().read };
      const read = async () => {
        await using store = await database.open(options);
        return [await store.readNetworks(), await store.readPorts({}), await store.readEvents({})];
      };
      {
        await using store = await database.open(options);
        for (const manifest of networks) await store.putNetwork(manifest, "test");
        await store.commit([
          claim("web", "a", "s1", {
            labels: { app: "web" },
            workload: { kind: "StatefulSet", namespace: "default", name: "web", ordinal: 0 },
          }),
          claim("ttl", "a", "s2", { retention: { policy: "sticky", ttlSeconds: 9 } }),
          release("a", "s2"),
          {
            kind: "reserve",
            name: "db",
            caller: "t",
            reservation: { networkSelector: "", allowedNamespaces: ["c1/*"], deviceOwner: "vm" },
          },
        ]);
      }
      const once = await read();
      await database.crash();
      assert.deepEqual(await read(), once);
      const [, { ports }] = once as [unknown, { ports: { labels: object; workload?: object; reservation?: object }[] }];
      assert.deepEqual(
        ports.map(({ reservation }) => reservation !== undefined),
        [true, false, false],
      );
    });
  });
}
