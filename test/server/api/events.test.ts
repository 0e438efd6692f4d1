import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Client, claimOf, networkOf } from "../client.ts";
import { ServerProcess } from "../server-process.ts";
import { EventStream } from "./sse.ts";

let server: ServerProcess;
let client: Client;

before(async () => {
  server = await ServerProcess.start();
  client = new Client(server);
  await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/20"));
});
after(() => server[Symbol.asyncDispose]());

const seqs = (events: { seq: number }[]) => events.map(({ seq }) => seq);

describe("event streams", () => {
  it("a stream starts with new events, with id and type", async () => {
    await client.claim(claimOf("before-0"));
    await using stream = await EventStream.open(`${server.url}/v1/events`);
    const { lastSeq } = await client.events();
    assert.deepEqual(await stream.next(), { id: String(lastSeq) });
    await client.claim(claimOf("now-0"));
    const message = await stream.next();
    const event = JSON.parse(message?.data ?? "");
    assert.deepEqual([event.port, message?.id, message?.event], ["c1/default/now-0", String(event.seq), event.type]);
  });

  it("a stream resumes by Last-Event-ID without gap or repetition", async () => {
    const { lastSeq: start } = await client.events();
    const claims = Array.from({ length: 300 }, (_, i) => claimOf(`resume-${i}`));
    await client.claims(...claims);
    const { lastSeq: end } = await client.events();
    const all: number[] = [];
    for (let last = start; last < end; last = all.at(-1) ?? last) {
      await using stream = await EventStream.open(`${server.url}/v1/events`, { "Last-Event-ID": String(last) });
      all.push(...seqs(await stream.events(Math.min(70, end - last))));
    }
    const wanted: number[] = [];
    for (let after = start; after < end; after = wanted.at(-1) ?? after) {
      wanted.push(...seqs((await client.events(`?after=${after}&limit=1000`)).events));
    }
    assert.deepEqual(all, wanted);
  });

  it("Last-Event-ID takes precedence over after", async () => {
    const { lastSeq } = await client.events();
    await using stream = await EventStream.open(`${server.url}/v1/events?after=0`, {
      "Last-Event-ID": String(lastSeq),
    });
    assert.deepEqual(await stream.next(), { id: String(lastSeq) });
  });

  it("filters by host and type include moves from the host", async () => {
    await using stream = await EventStream.open(`${server.url}/v1/events?host=node-f&type=port.bound,port.moved`);
    await stream.next();
    await client.claim(claimOf("other-0", 1, "node-g"));
    await client.claim(claimOf("moving-0", 1, "node-f"));
    await client.claim(claimOf("moving-0", 2, "node-g"));
    const events = await stream.events(2);
    assert.deepEqual(
      events.map(({ type, port, host, fromHost }) => [type, port, host, fromHost]),
      [
        ["port.bound", "c1/default/moving-0", "node-f", undefined],
        ["port.moved", "c1/default/moving-0", "node-g", "node-f"],
      ],
    );
  });

  it("pages and streams filter alike", async () => {
    const { lastSeq } = await client.events();
    await client.claim(claimOf("same-0", 1, "node-s"));
    const { port } = await client.claim(claimOf("same-0", 2, "node-t"));
    for (const filter of [
      "host=node-s",
      "host=node-t",
      "type=port.moved",
      `port=${encodeURIComponent(port.name)}`,
      `ip=${port.fixedIps[0]?.address}`,
      `mac=${port.mac}`,
    ]) {
      const { events } = await client.events(`?after=${lastSeq}&${filter}`);
      await using stream = await EventStream.open(`${server.url}/v1/events?after=${lastSeq}&${filter}`);
      assert.deepEqual(await stream.events(events.length), events, filter);
    }
  });

  it("a position above the newest event is a conflict", async () => {
    const { lastSeq } = await client.events();
    const headers = { Accept: "text/event-stream" };
    const { status, body } = await client.send("GET", `/v1/events?after=${lastSeq + 1000}`, undefined, headers);
    assert.equal(status, 409);
    assert.match((body as { detail: string }).detail, /compare everything and start from/);
  });

  it("a Last-Event-ID that is no number is refused", async () => {
    const headers = { Accept: "text/event-stream", "Last-Event-ID": "x" };
    assert.equal((await client.send("GET", "/v1/events", undefined, headers)).status, 400);
  });

  it("many streams receive every event in order under load", async () => {
    const streams = await Promise.all(Array.from({ length: 20 }, () => EventStream.open(`${server.url}/v1/events`)));
    for (const stream of streams) await stream.next();
    const { lastSeq } = await client.events();
    for (let i = 0; i < 10; i++) {
      await client.claims(...Array.from({ length: 20 }, (_, j) => claimOf(`many-${i}-${j}`)));
    }
    const { lastSeq: end } = await client.events();
    const { events: wanted } = await client.events(`?after=${lastSeq}&limit=1000`);
    for (const stream of streams) {
      const events = await stream.events(wanted.length);
      assert.deepEqual(seqs(events), seqs(wanted));
      assert.equal(events.at(-1)?.seq, end);
      await stream[Symbol.asyncDispose]();
    }
  });

  it("a reader of events past the retention gets one gap event first", async () => {
    await using other = await ServerProcess.start({ args: ["--event-retention", "1ms"] });
    const its = new Client(other);
    await its.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/24"));
    const deadline = Date.now() + 20_000;
    for (let life = 1; (await its.events()).oldestSeq < 3; life++) {
      assert.ok(Date.now() < deadline, "nothing was pruned");
      await its.claim(claimOf("away-0", life));
    }
    const { oldestSeq, events } = await its.events();
    const url = `${other.url}/v1/events?host=nowhere`;
    await using stream = await EventStream.open(`${url}&after=1`);
    assert.deepEqual(await stream.next(), { id: "1" });
    const gap = await stream.next();
    assert.deepEqual([gap?.event, gap?.id], ["gap", String(oldestSeq - 1)]);
    assert.match(JSON.parse(gap?.data ?? "").message, /compare everything/);

    await using resumed = await EventStream.open(`${other.url}/v1/events`, { "Last-Event-ID": gap?.id ?? "" });
    assert.deepEqual(await resumed.events(events.length), events);
  });
});
