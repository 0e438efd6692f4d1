import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { followEvents } from "../../../ipam-server/client/event-follower.ts";
import { createStreams } from "../../../ipam-server/client/streams.ts";

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
});
