import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import { connect, TIMEOUTS } from "../../../ipam-server/storage/postgres/database/connect.ts";
import { parsePostgresUrl } from "../../../ipam-server/storage/postgres/database/postgres-url.ts";
import { openPostgresStore } from "../../../ipam-server/storage/postgres/postgres-store.ts";
import { assertHealthy, attach, claim, network, release } from "../support/builders.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const NET = network("net", 10, [{ cidr: "10.0.0.0/16" }]);
/** Begin, lock and load; write and commit. One more for each when a large batch arrives in pieces. */
const MOST_ROUND_TRIPS = 4;
const DEADLINE_MS = 30_000;

let server: PrivatePostgres;
before(async () => {
  server = await PrivatePostgres.start();
});
after(() => server[Symbol.asyncDispose]());

describe("retries on PostgreSQL", () => {
  it("decides an aborted transaction again, and rejects one that always aborts", async () => {
    const url = await server.createDatabase();
    let failure: { code: string; left: number } | undefined;
    const failpoint = (step: string) => {
      if (step !== "commit" || !failure || failure.left-- <= 0) return;
      throw Object.assign(new Error("others were in the way"), { code: failure.code });
    };
    await using store = await openPostgresStore({ url, retryForMs: 1000, failpoint });
    await store.putNetwork(NET, "test");
    for (const code of ["40001", "40P01", "55P03", "23505"]) {
      failure = { code, left: 3 };
      await attach(store, claim(code, "a", code));
      const { events } = await store.readEvents({ port: code });
      assert.deepEqual(
        events.map(({ type }) => type),
        ["port.created", "port.bound"],
        code,
      );
    }
    failure = { code: "40P01", left: Number.POSITIVE_INFINITY };
    await assert.rejects(store.commit([claim("late", "a", "late")]), {
      code: "unavailable",
      message: /had too many conflicting transactions; try again/,
    });
    failure = { code: "22P02", left: 1 };
    await assert.rejects(store.commit([claim("fault", "a", "fault")]), { code: "internal" });
    failure = undefined;
    await assertHealthy(store);
  });

  it("answers readiness while long lists occupy all readers", async () => {
    const url = await server.createDatabase();
    await using store = await openPostgresStore({ url, readers: 2 });
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    try {
      await other.query("BEGIN");
      await other.query("LOCK TABLE ports IN ACCESS EXCLUSIVE MODE");
      let listed = 0;
      const lists = Array.from({ length: 8 }, async () => {
        await store.readPorts({});
        listed++;
      });
      const late = AbortSignal.timeout(DEADLINE_MS);
      for (let waiting = 0; waiting < 2; late.throwIfAborted()) {
        const { rows } = await other.query("SELECT FROM pg_locks WHERE NOT granted AND relation = 'ports'::regclass");
        waiting = rows.length;
      }
      await store.ready();
      assert.equal(listed, 0);
      await other.query("COMMIT");
      await Promise.all(lists);
    } finally {
      await other.end();
    }
  });

  it("waits for another client's lock only until the time-out", async () => {
    const url = await server.createDatabase();
    await using store = await openPostgresStore({ url, retryForMs: 500, timeouts: { lockMs: 200 } });
    await store.putNetwork(NET, "test");
    const other = new pg.Client({ connectionString: url });
    await other.connect();
    try {
      const hold = async () => {
        await other.query("BEGIN");
        await other.query("SELECT FROM subnets FOR UPDATE");
      };
      await hold();
      await assert.rejects(store.commit([claim("p", "a", "p")]), {
        code: "unavailable",
        message: /is busy: another transaction holds what this one needs/,
      });
      await other.query("COMMIT");
      await hold();
      const waiting = attach(store, claim("p", "a", "p"));
      await delay(50);
      await other.query("COMMIT");
      assert.equal((await waiting).port.epoch, 1);
    } finally {
      await other.end();
    }
    await assertHealthy(store);
  });

  it("commits a batch of any size in the same few round trips", async () => {
    const url = await server.createDatabase();
    await using proxy = await CuttingProxy.start(url);
    await using store = await openPostgresStore({ url: proxy.url, reuseDelayMs: 0, pollMs: 600_000 });
    await store.putNetwork(NET, "test");
    const names = (prefix: string, count: number) => Array.from({ length: count }, (_, index) => `${prefix}${index}`);
    const claims = (prefix: string, count: number): Mutation[] =>
      names(prefix, count).map(name => claim(name, "a", name, { retention: { policy: "sticky" } }));
    const releases = (prefix: string, count: number): Mutation[] =>
      names(prefix, count).map(name => release("a", name, { name }));
    const roundTripsOf = async (batch: Mutation[]) => {
      const before = proxy.roundTrips;
      await store.commit(batch);
      return proxy.roundTrips - before;
    };
    // A block of port keys is taken now and then, and statements are prepared once a connection.
    for (const prefix of ["first-", "second-"]) {
      await store.commit(claims(prefix, 2));
      await store.commit(releases(prefix, 2));
    }
    for (const size of [1, 10, 100, 400]) {
      assert.ok((await roundTripsOf(claims(`p${size}-`, size))) <= MOST_ROUND_TRIPS, `${size} claims`);
      assert.ok((await roundTripsOf(releases(`p${size}-`, size))) <= MOST_ROUND_TRIPS, `${size} releases`);
    }
  });

  it("drops a silently lost connection and uses the next one", async () => {
    const target = await server.createDatabase();
    await using proxy = await CuttingProxy.start(target);
    await using store = await openPostgresStore({
      url: proxy.url,
      retryForMs: 500,
      timeouts: { statementMs: 300, connectMs: 300 },
    });
    await store.putNetwork(NET, "test");
    proxy.freeze();
    await assert.rejects(store.ready(), { code: "unavailable" });
    proxy.cutAll();
    proxy.thaw();
    for (const late = AbortSignal.timeout(DEADLINE_MS); ; await delay(50)) {
      if (
        await store.ready().then(
          () => true,
          () => false,
        )
      )
        break;
      late.throwIfAborted();
    }
    await attach(store, claim("p", "a", "p"));
    await assertHealthy(store);
  });

  it("stops without waiting for hosts that do not answer", async () => {
    const connected = Promise.withResolvers<void>();
    const sockets: Socket[] = [];
    const silent = createServer(socket => {
      sockets.push(socket.on("error", () => {}));
      connected.resolve();
    }).listen(0, "127.0.0.1");
    try {
      await once(silent, "listening");
      const host = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
      const stop = new AbortController();
      const url = parsePostgresUrl(`postgres://mooring@${host},${host}/mooring`);
      const connecting = connect(url, 0, { ...TIMEOUTS, connectMs: DEADLINE_MS }, stop.signal);
      await connected.promise;
      stop.abort();
      const late = delay(DEADLINE_MS / 2, "late", { ref: false });
      assert.match(String(await Promise.race([connecting.catch(error => error), late])), /cannot be reached/);
      assert.equal(sockets.length, 1);
    } finally {
      for (const socket of sockets) socket.destroy();
      silent.close();
    }
  });
});
