import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runCtl } from "./fake-io.ts";
import { FakeServer } from "./fake-server.ts";
import { createEvent } from "./fixtures.ts";

describe("mooringctl trace", () => {
  it("shows time, type, host, epoch and caller", async () => {
    const events = [
      createEvent(1, { type: "port.created" }),
      createEvent(2),
      createEvent(3, { type: "port.moved", host: "node-b", fromHost: "node-a", epoch: 4, caller: "node-b" }),
      createEvent(4, { type: "port.state", host: "node-b", state: "ACTIVE_DOWN", epoch: 4, caller: "node-b" }),
    ];
    await using server = new FakeServer(() => ({ body: { events, lastSeq: 4 } }));
    const run = await runCtl(["trace", "c1/default/web-0"], { server: await server.listen() });
    assert.equal(run.exitCode, 0);
    assert.deepEqual(
      run.stdout.split("\n").map(line => line.split(/ {3,}/)),
      [
        ["WHEN", "WHAT", "PORT", "WHERE", "ADDRESSES", "EPOCH", "BY"],
        ["2026-11-20T08:00:00.000Z", "created", "c1/default/web-0", "node-a", "10.100.1.7", "3", "node-a"],
        ["2026-11-20T08:00:00.000Z", "bound", "c1/default/web-0", "node-a", "10.100.1.7", "3", "node-a"],
        ["2026-11-20T08:00:00.000Z", "moved", "c1/default/web-0", "node-a -> node-b", "10.100.1.7", "4", "node-b"],
        ["2026-11-20T08:00:00.000Z", "state ACTIVE_DOWN", "c1/default/web-0", "node-b", "10.100.1.7", "4", "node-b"],
        [""],
      ],
    );
    assert.equal(server.requests[0]?.url, "/v1/events?port=c1%2Fdefault%2Fweb-0&limit=1000");
  });

  it("reads all pages", async () => {
    await using server = new FakeServer(({ url }) => {
      const after = Number(new URL(url, "http://x").searchParams.get("after") ?? 0);
      const events = Array.from({ length: Math.min(1000, 2500 - after) }, (_, at) => createEvent(after + at + 1));
      return { body: { events, lastSeq: 2500 } };
    });
    const run = await runCtl(["trace", "x", "-o", "json"], { server: await server.listen() });
    const seqs = JSON.parse(run.stdout).events.map((event: { seq: number }) => event.seq);
    assert.deepEqual(
      seqs,
      Array.from({ length: 2500 }, (_, at) => at + 1),
    );
    assert.equal(server.requests.length, 3);
  });

  it("reads on after an empty page that names the next one", async () => {
    await using server = new FakeServer(({ url }) => {
      const isFirst = !new URL(url, "http://x").searchParams.has("after");
      return { body: isFirst ? { events: [], lastSeq: 9, nextAfter: 8 } : { events: [createEvent(9)], lastSeq: 9 } };
    });
    const run = await runCtl(["trace", "x", "-o", "json"], { server: await server.listen() });
    assert.deepEqual(
      JSON.parse(run.stdout).events.map((event: { seq: number }) => event.seq),
      [9],
    );
    assert.match(server.requests[1]?.url ?? "", /[?&]after=8(&|$)/);
  });

  for (const [subject, query, called] of [
    ["10.100.1.7", "ip=10.100.1.7", "the address 10.100.1.7"],
    ["fd00:100::7", "ip=fd00%3A100%3A%3A7", "the address fd00:100::7"],
    ["0A-58-0A-64-01-07", "mac=0a%3A58%3A0a%3A64%3A01%3A07", "the MAC 0a:58:0a:64:01:07"],
    ["web", "port=web", "a port named web"],
  ] as const) {
    it(`recognizes ${subject}, and says when it has no events`, async () => {
      await using server = new FakeServer(() => ({ body: { events: [], lastSeq: 9 } }));
      const run = await runCtl(["trace", subject], { server: await server.listen() });
      assert.equal(server.requests[0]?.url, `/v1/events?${query}&limit=1000`);
      assert.equal(run.exitCode, 0);
      assert.ok(run.stderr.startsWith(`No events of ${called}`), run.stderr);
    });
  }
});
