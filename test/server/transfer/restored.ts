import assert from "node:assert/strict";
import type { Port, Recovery } from "../../../ipam-server/contract/index.ts";
import { EventStream } from "../api/sse.ts";
import { Client, claimOf, networkOf } from "../client.ts";
import type { ServerProcess } from "../server-process.ts";

/** Fills a server before its backup: web-0 is bound on node-a, and migrates to node-z. */
export async function fillBeforeBackup(client: Client): Promise<void> {
  await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/16"));
  await client.claim(claimOf("web-0"));
  await client.claim(claimOf("web-0", 2, "node-z", { migration: { id: "m1" } }));
}

/** Changes a server after its backup: moves web-0, claims more, and returns the last seq. */
export async function changeAfterBackup(server: ServerProcess): Promise<number> {
  const client = new Client(server);
  for (let life = 2; life < 6; life++) await client.claim(claimOf("web-0", life, `node-${life}`));
  await client.claim(claimOf("lost-1"));
  return (await client.events()).lastSeq;
}

/** Asserts on a restored server that new epochs and events are higher than those lost since the backup. */
export async function assertNewerThanBackup(server: ServerProcess, lostSeq: number): Promise<void> {
  const client = new Client(server);
  assert.deepEqual(await client.findings(), []);

  // The binding is the backup's: the agent that runs the pod must not find its own binding superseded.
  const { body: web } = await client.get<Port>("/v1/ports/c1/default/web-0");
  assert.equal(web.epoch, 1);
  assert.equal(web.binding?.host, "node-a");
  const { lastSeq, oldestSeq, events } = await client.events();
  assert.ok(oldestSeq > lostSeq && lastSeq > lostSeq);
  assert.ok(
    events.some(({ type }) => type === "port.bound"),
    "the history is kept",
  );

  // A reader of events lost since the backup gets a gap event, and compares everything.
  await using reader = await EventStream.open(`${server.url}/v1/events`, { "Last-Event-ID": String(lostSeq) });
  const [gap] = await reader.events(1);
  assert.deepEqual([gap?.type, gap?.seq], ["gap", oldestSeq - 1]);

  // Nothing new is assigned until the nodes of the backup have reported, or a person ends the wait.
  const { body: recovery } = await client.get<Recovery>("/v1/recovery");
  assert.ok(recovery.active);
  assert.deepEqual(recovery.waitingFor, [{ host: "node-a" }, { host: "node-z" }]);
  assert.match((await client.get<string>("/metrics")).body, /^mooring_recovery_waiting_hosts 2$/m);
  await assert.rejects(client.claim(claimOf("web-0", 7, "node-b")), /restored from a backup/);
  assert.deepEqual((await client.send("DELETE", "/v1/recovery")).body, { active: false });

  const moved = await client.claim(claimOf("web-0", 7, "node-b"));
  assert.equal(moved.port.epoch, 1_000_002);
  assert.deepEqual(moved.port.fixedIps, web.fixedIps);
  assert.ok((await client.claim(claimOf("new"))).port.epoch > 1_000_000);
  assert.ok((await client.events(`?after=${lastSeq}`)).events.every(({ seq }) => seq > lastSeq));
}
