import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { test } from "node:test";
import pino from "pino";
import { createApp } from "../../../ipam-server/http/app.ts";
import { eventOperations } from "../../../ipam-server/http/event-operations.ts";
import { EventTail } from "../../../ipam-server/http/event-tail.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";

test("a reader that stops reading is cut off, and what is kept for it stays bounded", async () => {
  const store = new MemoryStore();
  using tail = new EventTail(store);
  const stopping = new AbortController();
  const timing = { keepAliveMs: 60_000, slowReaderMs: 200, signal: stopping.signal };
  const edge = {
    ...{ admit: () => ({ name: "t", roles: [] }), log: pino({ enabled: false }), onAnswer: () => undefined },
    stopping: stopping.signal,
  };
  const server = createServer(createApp(edge, eventOperations(store, tail, timing)));
  let buffered = 0;
  const closed = Promise.withResolvers<void>();
  server.on("request", (_, response) => {
    response.on("close", closed.resolve);
    const look = () => {
      buffered = Math.max(buffered, response.writableLength);
      if (!response.closed) setImmediate(look);
    };
    look();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.write("GET /v1/events?after=0 HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n");
  socket.pause();
  const message = "x".repeat(4000);
  for (let i = 0; i < 20_000; i++) store.emit({ message });
  const late = AbortSignal.timeout(20_000);
  late.addEventListener("abort", () => closed.reject(new Error("the reader was not cut off")));
  await closed.promise;
  assert.ok(buffered < 16_000_000, `${buffered} bytes were buffered of 80 MB`);
  socket.destroy();
  server.close();
});
