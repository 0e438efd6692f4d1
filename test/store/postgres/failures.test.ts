import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import {
  addressesOf,
  assertHealthy,
  attach,
  attached,
  Clock,
  claim,
  network,
  REUSE_DELAY_MS,
  release,
} from "../support/builders.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const NET = network("net", 10, [{ cidr: "10.0.0.0/16" }]);
const sticky = { retention: { policy: "sticky" } } as const;

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

describe("connection cut at a commit", () => {
  for (const cut of ["before", "after"] as const) {
    const when = cut === "before" ? "before the server has it" : "before its answer is back";
    it(`applies every change once when cut ${when}`, async () => {
      const target = await server.createDatabase();
      await using proxy = await CuttingProxy.start(target);
      await using store = await openPostgresStore({ url: proxy.url, clock: new Clock().read });
      const cutting = async <T>(work: () => Promise<T>): Promise<T> => {
        const { cuts } = proxy;
        proxy.cutNextCommit(cut);
        const result = await work();
        assert.equal(proxy.cuts, cuts + 1, "nothing was cut");
        return result;
      };
      const commit = async (...batch: Mutation[]) => cutting(() => store.commit(batch));

      assert.equal((await cutting(() => store.putNetwork(NET, "test"))).outcome, "created");
      assert.equal((await cutting(() => store.putNetwork(network("gone", 11, []), "test"))).outcome, "created");
      await cutting(() => store.deleteNetwork("gone", "test"));
      const [claimed] = await commit(claim("web", "a", "s1", sticky));
      assert.equal(attached(claimed).port.epoch, 1);
      // Asked a second time, each of these would be answered otherwise.
      const reservation = { networkSelector: "env=test" };
      const [reserved] = await commit({ kind: "reserve", name: "db", caller: "test", reservation });
      assert.ok(reserved && "created" in reserved && reserved.created);
      const [deleted] = await commit({ kind: "deletePort", name: "db", caller: "test" });
      assert.ok(deleted && "deleted" in deleted);
      const [released] = await commit(release("a", "s1"));
      assert.deepEqual(released, { released: true, name: "web", deleted: false });
      // Made twice, this would leave another trail.
      const [first, second, third] = await commit(
        claim("p", "a", "s2"),
        release("a", "s2", { name: "p" }),
        claim("p", "a", "s3"),
      );
      assert.ok(second && "released" in second && second.released);
      assert.notEqual(attached(first).port.id, attached(third).port.id);

      const { events } = await store.readEvents({ limit: 1000 });
      assert.deepEqual(
        events.map(({ type, port, network: net }) => `${type} ${port ?? net}`),
        [
          ...["network.created net", "network.created gone", "network.deleted gone"],
          ...["port.created web", "port.bound web", "port.created db", "port.reserved db", "port.deleted db"],
          ...["port.released web", "port.created p", "port.bound p", "port.released p", "port.deleted p"],
          ...["port.created p", "port.bound p"],
        ],
      );
      await assertHealthy(store);
      await server.query("SELECT 1", target);
    });
  }
});

describe("PostgreSQL failures", () => {
  it("reports an unknown commit outcome, and applies the repeated claim once", async () => {
    await using proxy = await CuttingProxy.start(await server.createDatabase());
    await using store = await openPostgresStore({ url: proxy.url, retryForMs: 300 });
    await store.putNetwork(NET, "test");
    await attach(store, claim("first", "a", "s0"));
    proxy.cutNextCommit("after");
    proxy.refuses = true;
    await assert.rejects(store.commit([claim("p", "a", "s1")]), {
      code: "unavailable",
      message: /lost at the commit, its outcome is unknown: send the request again/,
    });
    proxy.refuses = false;
    assert.equal((await attach(store, claim("p", "a", "s1"))).port.epoch, 1);
    const { events } = await store.readEvents({ port: "p" });
    assert.deepEqual(
      events.map(({ type }) => type),
      ["port.created", "port.bound"],
    );
  });

  it("blocks other replicas only until a frozen transaction is ended", async () => {
    const target = await server.createDatabase();
    await using proxy = await CuttingProxy.start(target);
    const timeouts = { statementMs: 500, idleInTransactionMs: 500 };
    await using frozen = await openPostgresStore({ url: proxy.url, timeouts });
    await using other = await openPostgresStore({ url: target, timeouts });
    await frozen.putNetwork(NET, "test");
    await attach(frozen, claim("first", "a", "s0"));
    proxy.cutNextCommit("frozen");
    const late = attach(frozen, claim("p", "a", "s1"));
    while (proxy.cuts === 0) await delay(5);
    // The same name on the same subnet: it waits for both locks.
    const { port } = await attach(other, claim("p", "a", "s1"));
    assert.deepEqual((await late).port.fixedIps, port.fixedIps);
    assert.equal((await late).port.epoch, 1);
    await assertHealthy(other);
  });

  /** Claims and releases until it is stopped, and records what was acknowledged. */
  class Load {
    readonly held = new Map<string, string>();
    readonly failures: unknown[] = [];
    commits = 0;
    readonly #stopping = new AbortController();
    readonly #running: Promise<unknown>;

    constructor(stores: readonly Store[]) {
      this.#running = Promise.all(stores.map((store, index) => this.#run(store, index)));
      this.#running.catch(() => {});
    }

    async #run(store: Store, replica: number): Promise<void> {
      for (let round = 0; !this.#stopping.signal.aborted; round++) {
        const names = Array.from({ length: 10 }, (_, index) => `w${replica}-${round}-${index}`);
        try {
          const claimed = await store.commit(names.map(name => claim(name, "a", name)));
          for (const [index, outcome] of claimed.entries()) {
            const [address = ""] = addressesOf(attached(outcome));
            assert.equal(this.held.get(address), undefined, `${address} was given out twice`);
            this.held.set(address, names[index] ?? "");
          }
          const gone = names.slice(5);
          const released = await store.commit(gone.map(name => release("a", name, { name })));
          for (const outcome of released) assert.ok("released" in outcome && outcome.released, JSON.stringify(outcome));
          for (const [address, name] of this.held) if (gone.includes(name)) this.held.delete(address);
          this.commits += 2;
        } catch (error) {
          if (!(error instanceof IpamError)) throw error;
          this.failures.push(error);
          await delay(20);
        }
      }
    }

    /** Resolves after so many more commits. */
    async more(commits: number): Promise<void> {
      const goal = this.commits + commits;
      for (const deadline = Date.now() + 60_000; this.commits < goal; await delay(5)) {
        if (Date.now() > deadline) throw new Error(`${this.commits} of ${goal} commits: ${this.failures.at(-1)}`);
        await Promise.race([this.#running, delay(0)]);
      }
    }

    async stop(): Promise<void> {
      this.#stopping.abort();
      await this.#running;
    }

    /** Asserts that all acknowledged claims exist. After failures there may be more: those with an unknown outcome. */
    async assertKept(store: Store): Promise<void> {
      await assertHealthy(store);
      for (const [address, name] of this.held) {
        const port = await store.readPort(name);
        assert.equal(port.fixedIps[0]?.address, address);
      }
      const [subnet] = (await store.readNetwork("net")).subnets;
      if (this.failures.length === 0) assert.equal(subnet?.usage.held, this.held.size);
    }
  }

  describe("PostgreSQL failures under load", () => {
    it("hides killed sessions from callers and loses nothing", async () => {
      const url = await server.createDatabase();
      await using one = await openPostgresStore({ url, readers: 1 });
      await using two = await openPostgresStore({ url, readers: 1 });
      await one.putNetwork(NET, "test");
      const load = new Load([one, two]);
      for (let round = 0; round < 15; round++) {
        await load.more(6);
        await server.terminate(url);
      }
      await load.stop();
      assert.deepEqual(load.failures, []);
      await load.assertKept(one);
      await server.dropDatabase(url);
    });

    it("waits for a crashed server and loses nothing acknowledged", async () => {
      const url = await server.createDatabase();
      await using one = await openPostgresStore({ url, readers: 1, retryForMs: 30_000 });
      await using two = await openPostgresStore({ url, readers: 1, retryForMs: 30_000 });
      await one.putNetwork(NET, "test");
      const load = new Load([one, two]);
      for (const how of ["immediate", "fast", "immediate"] as const) {
        await load.more(10);
        await server.down(how);
        await server.up();
      }
      await load.more(10);
      await load.stop();
      assert.deepEqual(load.failures, []);
      await load.assertKept(two);
      await server.dropDatabase(url);
    });

    it("names an unreachable server in every error, and recovers with it", async () => {
      const url = await server.createDatabase();
      await using store = await openPostgresStore({ url, retryForMs: 300 });
      await store.putNetwork(NET, "test");
      await attach(store, claim("before", "a", "before"));
      await server.down("immediate");
      const name = `${new URL(url).pathname.slice(1)} on 127.0.0.1:${server.port}`;
      for (const work of [
        () => store.commit([claim("p", "a", "p")]),
        () => store.readPort("before"),
        () => store.ready(),
        () => store.check(),
        () => store.putNetwork(network("more", 11, []), "test"),
      ]) {
        await assert.rejects(work, (error: IpamError) => {
          assert.equal(error.code, "unavailable");
          assert.ok(error.message.includes(name), error.message);
          assert.ok(!error.message.includes(server.password), "the text shows the password");
          return true;
        });
      }
      await server.up();
      await store.ready();
      await attach(store, claim("p", "a", "p"));
      assert.equal((await store.readPort("before")).binding?.host, "a");
      await assertHealthy(store);
    });

    it("keeps acknowledged claims when the synchronous standby takes over", async () => {
      await using primary = await PrivatePostgres.start();
      const url = await primary.createDatabase();
      await using standby = await primary.startStandby();
      const [here, there] = [primary, standby].map(({ port }) => `127.0.0.1:${port}`);
      const urls = [`@${here},${there}`, `@${there},${here}`].map(hosts => url.replace(/@[^/]+/, hosts));
      await assert.rejects(openPostgresStore({ url: url.replace(String(primary.port), String(standby.port)) }), {
        code: "unavailable",
        message: /is a standby, which accepts no writes; name the primary/,
      });
      const options = { readers: 1, retryForMs: 30_000, reuseDelayMs: REUSE_DELAY_MS };
      await using one = await openPostgresStore({ ...options, url: urls[0] ?? "" });
      await using two = await openPostgresStore({ ...options, url: urls[1] ?? "" });
      await one.putNetwork(NET, "test");
      const load = new Load([one, two]);
      await load.more(20);
      await primary.down("immediate");
      await standby.query("SELECT pg_promote()");
      await load.more(20);
      await load.stop();
      assert.deepEqual(load.failures, []);
      await load.assertKept(one);
      await one.ready();
    });
  });
});
