import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import pino from "pino";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { EventTail } from "../../../ipam-server/engine/event-tail.ts";
import { ReadQueue } from "../../../ipam-server/engine/read-queue.ts";
import { createApp } from "../../../ipam-server/http/app.ts";
import { eventOperations } from "../../../ipam-server/http/v1/event-operations.ts";
import { StreamPlaces } from "../../../ipam-server/http/v1/stream-places.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";
import { EventStream } from "../../server/api/sse.ts";

async function serveEvents(store: MemoryStore, tail = new EventTail(store), keepAliveMs = 60_000) {
  const stopping = new AbortController();
  const timing = { places: new StreamPlaces(), keepAliveMs, slowReaderMs: 200, signal: stopping.signal };
  const edge = {
    ...{ admit: () => ({ name: "t", roles: [] }), log: pino({ enabled: false }), onAnswer: () => undefined },
    ...{
      stopping: stopping.signal,
      reads: { short: new ReadQueue({ concurrency: 1 }), long: new ReadQueue({ concurrency: 1 }) },
    },
  };
  const server = createServer(createApp(edge, eventOperations(store, tail, timing))).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    server,
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      tail[Symbol.dispose]();
      server.close();
      server.closeAllConnections();
    },
  };
}

describe("event stream", () => {
  it("ends with the store's error, without internal details", async () => {
    const store = new MemoryStore();
    await using served = await serveEvents(store);
    for (const [failure, reason] of [
      [new IpamError("unavailable", "the database is away"), "the database is away"],
      [new Error("a secret"), "internal error; see the server's log"],
    ] as const) {
      await using stream = await EventStream.open(`http://127.0.0.1:${served.port}/v1/events`);
      await stream.next();
      const read = store.readEvents;
      store.readEvents = () => Promise.reject(failure);
      store.emit({});
      assert.deepEqual(await stream.next(), { event: "end", data: JSON.stringify({ reason }) });
      assert.equal(await stream.next(), undefined);
      store.readEvents = read;
    }
  });

  it("disconnects a reader that stops reading, with bounded memory", async () => {
    const store = new MemoryStore();
    await using served = await serveEvents(store);
    let buffered = 0;
    const closed = Promise.withResolvers<void>();
    served.server.on("request", (_, response) => {
      response.on("close", closed.resolve);
      const look = () => {
        buffered = Math.max(buffered, response.writableLength);
        if (!response.closed) setImmediate(look);
      };
      look();
    });
    const socket = connect(served.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write("GET /v1/events?after=0 HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    socket.pause();
    const message = "x".repeat(4000);
    for (let i = 0; i < 20_000; i++) store.emit({ message });
    const late = AbortSignal.timeout(20_000);
    late.addEventListener("abort", () => closed.reject(new Error("the reader was not cut off")));
    await closed.promise;
    assert.ok(buffered < 1_000_000, `${buffered} bytes were buffered of 80 MB`);
    socket.destroy();
  });

  it("sends its position when idle, also if a timer fires early", async () => {
    const store = new MemoryStore();
    const tail = new EventTail(store);
    let waits = 0;
    tail.wait = async (after, _query, timeoutMs, signal) => {
      await delay(waits++ === 0 ? timeoutMs * 0.9 : 60_000, undefined, { signal }).catch(() => {});
      return after + 7;
    };
    await using served = await serveEvents(store, tail, 500);
    await using stream = await EventStream.open(`http://127.0.0.1:${served.port}/v1/events`);
    assert.deepEqual(await stream.next(), { id: "0" });
    assert.deepEqual(await stream.next(), { id: "7" });
  });

  it("does not count a reader that left before the answer", async () => {
    const store = new MemoryStore();
    const tail = new EventTail(store);
    let reads = 0;
    tail.read = async after => {
      reads++;
      return { events: [], upTo: after };
    };
    const gate = Promise.withResolvers<void>();
    const requested = Promise.withResolvers<void>();
    const read = store.readEvents.bind(store);
    store.readEvents = async query => {
      requested.resolve();
      await gate.promise;
      return read(query);
    };
    await using served = await serveEvents(store, tail);
    const left = Promise.withResolvers<void>();
    served.server.on("request", (_, response) => response.on("close", left.resolve));
    const socket = connect(served.port, "127.0.0.1");
    socket.write("GET /v1/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
    await requested.promise;
    socket.destroy();
    await left.promise;
    gate.resolve();
    await delay(0);
    assert.equal(reads, 0);
  });
});
