import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openRaw, readUntil } from "../api/raw.ts";
import { EventStream } from "../api/sse.ts";
import { Client, claimOf, isProblem, networkOf } from "../client.ts";
import { ServerProcess } from "../server-process.ts";

describe("stopping server", () => {
  it("a stopping server completes requests and rejects new ones", async () => {
    await using server = await ServerProcess.start();
    const client = new Client(server);
    await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/24"));
    const body = JSON.stringify({ claims: [claimOf("begun-0")] });
    const socket = await openRaw(server.port);
    const head = `POST /v1/claims HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    socket.write(head + body.slice(0, 5));
    await using stream = await EventStream.open(`${server.url}/v1/events`);
    await stream.next();
    server.signal("SIGTERM");
    // The stream's end is the sign that stopping has begun.
    while ((await stream.next())?.event !== "end");

    for (const [method, path, sent] of [
      ["GET", "/readyz"],
      ["GET", "/v1/ports"],
      ["GET", "/v1/events"],
      ["POST", "/v1/claims", { claims: [claimOf("late-0")] }],
    ] as const) {
      const answer = await client.send(method, path, sent);
      assert.deepEqual(
        [answer.status, answer.headers.get("retry-after"), answer.headers.get("connection")],
        [503, "1", "close"],
        path,
      );
      assert.ok(isProblem(answer.body) && answer.body.code === "unavailable");
      assert.match(answer.body.detail, /the server is stopping; use another server/);
    }
    assert.equal((await client.get("/healthz")).status, 200);

    socket.write(body.slice(5));
    assert.match(await readUntil(socket, /\]\}$/), /HTTP\/1\.1 200[\s\S]*"name":"c1\/default\/begun-0"/);
    assert.equal(await server.ended(), 0);
  });

  it("a stopping server ends every stream with the reason", async () => {
    await using other = await ServerProcess.start();
    await using stream = await EventStream.open(`${other.url}/v1/events`);
    await stream.next();
    other.signal("SIGTERM");
    const last = await stream.next();
    assert.equal(last?.event, "end");
    assert.deepEqual(JSON.parse(last?.data ?? ""), { reason: "the server is stopping" });
    assert.equal(await stream.next(), undefined);
    assert.equal(await other.ended(), 0);
  });

  it("idle keep-alive connections do not delay a stop", async () => {
    await using server = await ServerProcess.start();
    const socket = await openRaw(server.port);
    socket.write("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    await readUntil(socket, /\{"status":"ok"\}/);
    assert.equal(await server.stop(), 0);
  });
});
