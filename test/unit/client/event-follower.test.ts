import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { describe, it } from "node:test";
import { followEvents } from "../../../ipam-server/client/event-follower.ts";
import { createStreams, type OpenStream } from "../../../ipam-server/client/streams.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { fakeTime } from "../../fakes/fake-time.ts";

describe("event follower", () => {
  it("resumes a quiet host's stream at its cursor, not at its last event", async () => {
    const cursors: (string | null)[] = [];
    const enough = new AbortController();
    const server = createServer((request, response) => {
      cursors.push(new URL(request.url ?? "", "http://ipam").searchParams.get("after"));
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (cursors.length === 1) response.end(": connected\nid: 5\n\n: keep-alive\nid: 4200000\n\n");
      else enough.abort();
    }).listen(0, "127.0.0.1");
    try {
      await once(server, "listening");
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const openStream = createStreams({ url });
      const signal = AbortSignal.any([enough.signal, AbortSignal.timeout(20_000)]);
      await followEvents(
        openStream,
        { after: 5, host: "node-a" },
        () => assert.fail("there was no event"),
        assert.ifError,
        signal,
      );
      assert.deepEqual(cursors, ["5", "4200000"]);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });

  it("asks again for a refused stream no sooner than Retry-After, and resumes there", async t => {
    const advance = fakeTime(t);
    const asked: string[] = [];
    const errors: string[] = [];
    const seqs: number[] = [];
    const enough = new AbortController();
    const message = (seq: number) =>
      Buffer.from(`id: ${seq}\ndata: ${JSON.stringify({ seq, type: "port.moved" })}\n\n`);
    const openStream: OpenStream = async ({ path }) => {
      asked.push(path);
      if (asked.length === 2) throw new IpamError("overloaded", "no place", { retryAfterSeconds: 30 });
      return { lengthBytes: undefined, chunks: Readable.from([message(asked.length)]) };
    };
    const following = followEvents(
      openStream,
      { after: 0, host: "node-a" },
      ({ seq }) => seqs.push(seq) === 2 && enough.abort(),
      ({ code }) => errors.push(code),
      enough.signal,
    );
    await advance(250);
    assert.deepEqual([asked.length, errors], [2, ["overloaded"]]);
    await advance(29_999);
    assert.equal(asked.length, 2, "the refusal is obeyed");
    await advance(15_001);
    await following;
    assert.deepEqual(seqs, [1, 3]);
    assert.equal(asked.at(-1), "/v1/events?after=1&host=node-a");
  });
});
