import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { Client, networkOf } from "../client.ts";
import { makeDatabase, ServerProcess } from "../server-process.ts";
import { Recorder, seededRandom } from "./recorder.ts";

const CLIENTS = 8;
const PODS = 25;
const ACKNOWLEDGED_A_ROUND = 200;
const ROUNDS = 3;

/** Loads a server from several clients, ends it by the signal in the middle, starts it again and compares. */
async function endUnderLoad(t: TestContext, signal: NodeJS.Signals, exitCode: number | null): Promise<void> {
  const seed = Number(process.env.MOORING_TEST_SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed} (MOORING_TEST_SEED repeats it)`);
  const directory = await mkdtemp(join(tmpdir(), "mooring-crash-"));
  const database = await makeDatabase(join(directory, "ipam.db"));
  const random = seededRandom(seed);
  const recorders = Array.from({ length: CLIENTS }, (_, i) => new Recorder(`c${i}`, PODS, random));
  try {
    for (let round = 0; round <= ROUNDS; round++) {
      await using server = await ServerProcess.start({ database });
      const client = new Client(server);
      if (round === 0) await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/23"));

      const ports = new Map((await client.allPorts()).map(port => [port.name, port]));
      for (const recorder of recorders) recorder.verify(ports);
      const addresses = [...ports.values()].flatMap(port => port.fixedIps.map(({ address }) => address));
      assert.equal(new Set(addresses).size, addresses.length, "an address is held twice");
      assert.deepEqual(await client.findings(), []);
      if (round === ROUNDS) break;

      let acknowledged = 0;
      const gone = new AbortController();
      const work = recorders.map(recorder =>
        recorder.work(client, gone.signal, () => {
          if (++acknowledged === ACKNOWLEDGED_A_ROUND) server.signal(signal);
        }),
      );
      assert.equal(await server.ended(), exitCode);
      gone.abort();
      await Promise.all(work);
      assert.ok(acknowledged >= ACKNOWLEDGED_A_ROUND);
    }
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

describe("crash under load", () => {
  it("kill -9 under load loses no acknowledged claim, doubles none", async t => {
    await endUnderLoad(t, "SIGKILL", null);
  });

  it("a graceful stop under load loses no acknowledged claim", async t => {
    await endUnderLoad(t, "SIGTERM", 0);
  });
});
