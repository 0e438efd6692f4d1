import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import pino from "pino";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { CommitQueue } from "../../../ipam-server/engine/commit-queue.ts";
import { ReadQueue } from "../../../ipam-server/engine/read-queue.ts";
import { createApp } from "../../../ipam-server/http/app.ts";
import { batchOperations } from "../../../ipam-server/http/v1/batch-operations.ts";
import { networkOperations } from "../../../ipam-server/http/v1/network-operations.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";
import { Client } from "../../server/client.ts";

/** The listener over a store that the test can break. */
async function serve(store: MemoryStore) {
  const lines: string[] = [];
  const answers: unknown[][] = [];
  const log = pino({}, { write: line => lines.push(line) });
  const admit = () => ({ name: "t", roles: [] });
  const batcher = new CommitQueue(store, { maxQueue: 10 });
  const operations = [...batchOperations(batcher), ...networkOperations(store)];
  const onAnswer = (...answer: unknown[]) => answers.push(answer.slice(0, 3));
  const edge = {
    admit,
    log,
    onAnswer,
    stopping: new AbortController().signal,
    reads: { short: new ReadQueue({ concurrency: 1 }), long: new ReadQueue({ concurrency: 1 }) },
  };
  const server = createServer(createApp(edge, operations)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    client: new Client({ url }),
    lines,
    answers,
    batcher,
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, `never: ${condition}`);
    await new Promise(resolve => setImmediate(resolve));
  }
}

const RELEASES = { releases: [{ host: "a", ownerUid: "u" }] };

describe("createApp", () => {
  it("logs an internal error and answers without details", async () => {
    const store = new MemoryStore();
    store.readNetworks = async () => {
      throw new TypeError("secret of the inside");
    };
    await using served = await serve(store);
    const { status, body } = await served.client.get<{ code: string }>("/v1/networks");
    assert.deepEqual([status, body.code], [500, "internal"]);
    assert.doesNotMatch(JSON.stringify(body), /secret/);
    assert.match(served.lines.join("\n"), /secret of the inside.*"method":"GET","url":"\/v1\/networks"/);
  });

  it("answers a failed commit with reason and Retry-After", async () => {
    const store = new MemoryStore();
    store.failing = new IpamError("unavailable", "the disk is full; free some space");
    await using served = await serve(store);
    const { status, headers, body } = await served.client.send<{ detail: string }>("POST", "/v1/releases", RELEASES);
    assert.deepEqual([status, headers.get("retry-after")], [503, "1"]);
    assert.match(body.detail, /the disk is full/);
    assert.deepEqual(served.lines, [], "an error of the caller is not logged");
  });

  it("returns unavailable when the deadline passes during a commit", async () => {
    const store = new MemoryStore();
    const gate = Promise.withResolvers<void>();
    store.gate = gate.promise;
    await using served = await serve(store);
    const entered = until(() => store.entered);
    const first = served.client.send("POST", "/v1/releases", RELEASES);
    await entered;
    const headers = { "Mooring-Deadline-Ms": "1" };
    const hurried = served.client.send<{ detail: string }>("POST", "/v1/releases", RELEASES, headers);
    await until(() => served.batcher.depth === 1);
    const queuedAt = performance.now();
    await until(() => performance.now() > queuedAt + 2);
    gate.resolve();
    const { status, body } = await hurried;
    assert.equal(status, 503);
    assert.match(body.detail, /your deadline passed before the change was decided/);
    assert.equal((await first).status, 200);
    assert.equal(store.batches.flat().length, 1);
  });

  it("counts answers by route, and unknown paths under one name", async () => {
    await using served = await serve(new MemoryStore());
    await served.client.get("/v1/networks/none");
    await served.client.get("/v1/random-path");
    await served.client.get("/v1/releases");
    await served.client.send("POST", "/v1/releases", RELEASES);
    assert.deepEqual(served.answers, [
      ["/v1/networks/{name}", "GET", 404],
      ["none", "GET", 404],
      ["/v1/releases", "GET", 405],
      ["/v1/releases", "POST", 200],
    ]);
  });
});
