import assert from "node:assert/strict";
import type { Port } from "../../../ipam-server/contract/index.ts";
import { EventStream } from "../api/sse.ts";
import { Client, claimOf } from "../client.ts";
import type { ServerProcess } from "../server-process.ts";

/** What happens after a backup that has web-0 bound once: it moves, and moves, and more. Answers the newest event's number. */
export async function goOnAfterBackup(server: ServerProcess): Promise<number> {
  const client = new Client(server);
  for (let life = 2; life < 6; life++) await client.claim(claimOf("web-0", life, `node-${life}`));
  await client.claim(claimOf("lost-1"));
  return (await client.events()).lastSeq;
}

/** On a server of the restored database: nothing new can be taken for older than what the backup knows nothing of. */
export async function assertAheadOfBackup(server: ServerProcess, lostSeq: number): Promise<void> {
  const client = new Client(server);
  assert.deepEqual(await client.findings(), []);

  // The binding is as the backup has it: an agent that has the pod must not take itself for the older one.
  const { body: web } = await client.get<Port>("/v1/ports/c1/default/web-0");
  assert.equal(web.epoch, 1);
  assert.equal(web.binding?.host, "node-a");
  const { lastSeq, oldestSeq, events } = await client.events();
  assert.ok(oldestSeq > lostSeq && lastSeq > lostSeq);
  assert.ok(
    events.some(({ type }) => type === "port.bound"),
    "the history is kept",
  );

  // Who read events that the backup has not is told to compare everything.
  await using reader = await EventStream.open(`${server.url}/v1/events`, { "Last-Event-ID": String(lostSeq) });
  const [gap] = await reader.events(1);
  assert.deepEqual([gap?.type, gap?.seq], ["gap", oldestSeq - 1]);

  const moved = await client.claim(claimOf("web-0", 7, "node-b"));
  assert.equal(moved.port.epoch, 1_000_002);
  assert.deepEqual(moved.port.fixedIps, web.fixedIps);
  assert.ok((await client.claim(claimOf("new"))).port.epoch > 1_000_000);
  assert.ok((await client.events(`?after=${lastSeq}`)).events.every(({ seq }) => seq > lastSeq));
}
