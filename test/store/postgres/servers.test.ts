import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { Client, claimOf, networkOf } from "../../server/client.ts";
import { Recorder, seededRandom } from "../../server/lifecycle/recorder.ts";
import { ServerProcess } from "../../server/server-process.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { PrivatePostgres } from "../support/private-postgres.ts";

const ACKNOWLEDGED = 150;
const DEADLINE_MS = 60_000;

let postgres: PrivatePostgres;
before(async () => {
  postgres = await PrivatePostgres.start();
});
after(() => postgres[Symbol.asyncDispose]());

describe("servers on one PostgreSQL database", () => {
  it("loses nothing when two of three servers are killed", async t => {
    const seed = Number(process.env.MOORING_TEST_SEED ?? Date.now() % 1_000_000);
    t.diagnostic(`seed ${seed} (MOORING_TEST_SEED repeats it)`);
    const database = await postgres.createDatabase();
    await using stack = new AsyncDisposableStack();
    const servers = await Promise.all(Array.from({ length: 3 }, () => ServerProcess.start({ database })));
    for (const server of servers) stack.use(server);
    const clients = servers.map(server => new Client(server));
    const [first, , last] = clients;
    assert.ok(first && last);
    await first.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/23"));

    const { port } = await last.claim(claimOf("web-0"));
    const { port: moved } = await first.claim(claimOf("web-0", 2, "node-b"));
    assert.deepEqual([moved.id, moved.fixedIps, moved.epoch], [port.id, port.fixedIps, 2]);

    const random = seededRandom(seed);
    const recorders = clients.flatMap((client, replica) =>
      Array.from({ length: 3 }, (_, index) => ({ recorder: new Recorder(`c${replica}${index}`, 10, random), client })),
    );
    let acknowledged = 0;
    const enough = new AbortController();
    // Who works on a server that is killed sees a broken connection, and ends.
    const work = recorders.map(({ recorder, client }) =>
      recorder.work(client, enough.signal, () => {
        acknowledged++;
        if (acknowledged === ACKNOWLEDGED) servers[0]?.signal("SIGKILL");
        if (acknowledged === 2 * ACKNOWLEDGED) servers[1]?.signal("SIGKILL");
        if (acknowledged >= 3 * ACKNOWLEDGED) enough.abort();
      }),
    );
    await Promise.all(work);
    assert.ok(acknowledged >= 3 * ACKNOWLEDGED, `only ${acknowledged} were acknowledged`);
    const ports = new Map((await last.allPorts()).map(held => [held.name, held]));
    for (const { recorder } of recorders) recorder.verify(ports);
    assert.deepEqual(await last.findings(), []);
  });

  it("stops while its database does not answer", async () => {
    await using proxy = await CuttingProxy.start(await postgres.createDatabase());
    await using server = await ServerProcess.start({ database: proxy.url });
    const client = new Client(server);
    await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/23"));
    await client.claim(claimOf("web-0"));
    proxy.freeze();
    const claims = Array.from({ length: 5 }, (_, index) => client.claim(claimOf(`late-${index}`)));
    const lists = Array.from({ length: 5 }, () => client.allPorts());
    const unanswered = Promise.allSettled([...claims, ...lists]);
    assert.equal(await server.stop(), 0);
    assert.ok((await unanswered).every(({ status }) => status === "rejected"));
  });

  /** Who leads, and in which term, once somebody does in a term after the one given. */
  async function findLeader(servers: readonly ServerProcess[], after: number) {
    for (const late = AbortSignal.timeout(DEADLINE_MS); ; await delay(50)) {
      late.throwIfAborted();
      for (const server of servers.filter(({ running }) => running)) {
        const { body } = await new Client(server).get<string>("/metrics");
        const term = Number(/^mooring_leader_term (\d+)$/m.exec(body)?.[1]);
        if (term > after) return { server, term };
      }
    }
  }

  it("elects another leader when the leader is killed or stops", async () => {
    const database = await postgres.createDatabase();
    await using stack = new AsyncDisposableStack();
    const servers = await Promise.all(Array.from({ length: 3 }, () => ServerProcess.start({ database })));
    for (const server of servers) stack.use(server);
    const first = await findLeader(servers, 0);
    await first.server.stop("SIGKILL");
    const second = await findLeader(servers, first.term);
    assert.equal(await second.server.stop(), 0);
    assert.match(second.server.log.join("\n"), /lost leadership/);
    const third = await findLeader(servers, second.term);
    assert.equal(new Set([first.server, second.server, third.server]).size, 3);
  });
});
