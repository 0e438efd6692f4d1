import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Client, networkOf } from "../../server/client.ts";
import { Recorder, seededRandom } from "../../server/lifecycle/recorder.ts";
import { PersistentClient } from "../../server/persistent-client.ts";
import { ServerProcess } from "../../server/server-process.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const CLIENTS = 6;
const PODS = 10;
const DEADLINE_MS = 120_000;

/** Counts acknowledgements, and resolves `more` once that many more have come. */
class Acknowledged {
  #count = 0;
  #waiting: { at: number; resolve(): void } | undefined;

  readonly one = (): void => {
    if (++this.#count === this.#waiting?.at) this.#waiting.resolve();
  };

  async more(count: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const late = setTimeout(() => reject(new Error(`not ${count} more in ${DEADLINE_MS} ms`)), DEADLINE_MS);
    this.#waiting = { at: this.#count + count, resolve };
    await promise;
    clearTimeout(late);
  }
}

async function readAllEvents(client: Client): Promise<unknown[]> {
  const all: unknown[] = [];
  for (let after = 0; ; ) {
    const { events } = await client.events(`?after=${after}&limit=1000`);
    const last = events.at(-1);
    if (!last) return all;
    all.push(...events);
    after = last.seq;
  }
}

describe("PostgreSQL switch-over", () => {
  it("loses nothing while servers are killed and the database switches over", async t => {
    const seed = Number(process.env.MOORING_TEST_SEED ?? Date.now() % 1_000_000);
    t.diagnostic(`seed ${seed} (MOORING_TEST_SEED repeats it)`);
    await using primary = await PrivatePostgres.start();
    const url = await primary.createDatabase();
    await using standby = await primary.startStandby();
    await using proxy = await CuttingProxy.start(url);
    const [here, there, cut] = [primary.port, standby.port, new URL(proxy.url).port].map(port => `127.0.0.1:${port}`);
    const urls = [`${here},${there}`, `${there},${here}`, `${cut},${there}`].map(hosts =>
      url.replace(/@[^/]+/, `@${hosts}`),
    );
    await using stack = new AsyncDisposableStack();
    const start = async (index: number) => stack.use(await ServerProcess.start({ database: urls[index] ?? "" }));
    const servers = await Promise.all([0, 1, 2].map(start));
    const clients = Array.from({ length: CLIENTS }, (_, index) => new PersistentClient(() => servers, index));
    await clients[0]?.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/25"));

    const random = seededRandom(seed);
    const recorders = clients.map((client, index) => ({ client, recorder: new Recorder(`c${index}`, PODS, random) }));
    const acknowledged = new Acknowledged();
    const over = new AbortController();
    const work = Promise.all(
      recorders.map(({ client, recorder }) => recorder.work(client, over.signal, acknowledged.one, "report failures")),
    );
    work.catch(() => {});
    const more = (count: number) => Promise.race([acknowledged.more(count), work]);

    await more(60);
    for (const index of [0, 1, 2]) {
      await servers[index]?.stop("SIGKILL");
      await more(30);
      servers[index] = await start(index);
    }
    for (const how of ["immediate", "fast"] as const) {
      await more(30);
      await primary.down(how);
      await primary.up();
    }
    for (let round = 0; round < 3; round++) {
      await more(30);
      proxy.cutAll();
    }
    await more(30);
    await primary.down("immediate");
    await standby.query("SELECT pg_promote()");
    await more(90);
    over.abort();
    await work;

    const histories = [];
    for (const server of servers) {
      const client = new Client(server);
      assert.equal((await client.get("/readyz")).status, 200);
      const ports = new Map((await client.allPorts()).map(port => [port.name, port]));
      for (const { recorder } of recorders) recorder.verify(ports);
      const addresses = [...ports.values()].flatMap(port => port.fixedIps.map(({ address }) => address));
      assert.equal(new Set(addresses).size, addresses.length, "an address is held twice");
      assert.deepEqual(await client.findings(), []);
      histories.push(await readAllEvents(client));
    }
    assert.ok((histories[0]?.length ?? 0) > 100);
    for (const history of histories) assert.deepEqual(history, histories[0]);
  });
});
