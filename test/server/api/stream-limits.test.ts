import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { STREAM_LIMITS } from "../../../ipam-server/http/v1/stream-places.ts";
import { waitFor } from "../../../scripts/lab/command.ts";
import { Client, isProblem } from "../client.ts";
import { ServerProcess } from "../server-process.ts";
import { EventStream } from "./sse.ts";

describe("limits of event streams", () => {
  it("refuse one caller's next stream, but no agent, until a stream is closed", async () => {
    await using server = await ServerProcess.start();
    const client = new Client(server);
    const url = `${server.url}/v1/events`;
    const open = (userAgent: string, query = "") => EventStream.open(url + query, { "User-Agent": userAgent });
    const { perCaller } = STREAM_LIMITS.other;
    const opened = await Promise.all(Array.from({ length: perCaller }, () => open("a-script")));

    const headers = { Accept: "text/event-stream", "User-Agent": "a-script" };
    const refused = await client.send("GET", "/v1/events", undefined, headers);
    assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "5"]);
    assert.ok(isProblem(refused.body));
    assert.equal(refused.body.code, "overloaded");
    assert.match(refused.body.detail, new RegExp(`^anonymous@127.0.0.1 has ${perCaller} event streams open, the most`));

    await using agent = await open("mooring-agent", "?host=node-a");
    assert.deepEqual(await agent.next(), { id: "0" });
    const metrics = async () => (await client.get<string>("/metrics")).body;
    assert.match(await metrics(), /^mooring_event_streams\{kind="agent"\} 1$/m);
    assert.match(await metrics(), new RegExp(`^mooring_event_streams\\{kind="other"\\} ${perCaller}$`, "m"));
    assert.match(await metrics(), /^mooring_event_streams_refused_total\{kind="other"\} 1$/m);

    for (const stream of opened) await stream[Symbol.asyncDispose]();
    await waitFor("the places to be free", async () =>
      /^mooring_event_streams\{kind="other"\} 0$/m.test(await metrics()),
    );
    await using again = await open("a-script");
    assert.deepEqual(await again.next(), { id: "0" });
  });

  it("keep no place for a request that is refused for another reason", async () => {
    await using server = await ServerProcess.start();
    const client = new Client(server);
    const headers = { Accept: "text/event-stream", "User-Agent": "a-script" };
    for (let i = 0; i <= STREAM_LIMITS.other.perCaller; i++) {
      assert.equal((await client.send("GET", "/v1/events?after=1000", undefined, headers)).status, 409);
    }
    assert.match((await client.get<string>("/metrics")).body, /^mooring_event_streams\{kind="other"\} 0$/m);
  });
});
