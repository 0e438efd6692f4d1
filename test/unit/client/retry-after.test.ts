import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import { sendCall } from "../../../ipam-server/client/call.ts";
import { createIpamClient } from "../../../ipam-server/client/client.ts";
import { deriveRetryDelay } from "../../../ipam-server/client/retry-policy.ts";
import { createStreams } from "../../../ipam-server/client/streams.ts";
import type { Transport } from "../../../ipam-server/client/transport.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { fakeTime } from "../../fakes/fake-time.ts";

describe("Retry-After", () => {
  it("lengthens the caller's own pause, with jitter, up to a bound", () => {
    const asked = (seconds: number) => new IpamError("overloaded", "full", { retryAfterSeconds: seconds });
    for (const [error, backoffMs, least, most] of [
      [asked(5), 250, 5000, 7500],
      [asked(1), 15_000, 15_000, 15_000],
      [asked(86_400), 250, 60_000, 90_000],
      [new IpamError("unavailable", "stopping"), 250, 250, 250],
      [new IpamError("address_in_use", "reused later", { retryAfterSeconds: 60 }), 250, 250, 250],
      [undefined, 250, 250, 250],
    ] as const) {
      const delayMs = deriveRetryDelay(error, backoffMs);
      assert.ok(delayMs >= least && delayMs <= most, `${delayMs} ms for ${error?.message}`);
    }
  });

  it("is obeyed by a call before it is sent again", async t => {
    const advance = fakeTime(t);
    let sent = 0;
    const transport: Transport = {
      exchange: async () =>
        sent++ === 0
          ? { status: 503, body: "", retryAfter: "2", reusable: true }
          : { status: 200, body: "{}", reusable: true },
      async [Symbol.asyncDispose]() {},
    };
    const context = { url: "http://ipam", open: async () => transport };
    const policy = { timeoutMs: 10_000, retries: 4 };
    const call = sendCall(context, { method: "GET", path: "/" }, () => "answered", policy);
    await advance(1999);
    assert.equal(sent, 1);
    await advance(1001);
    assert.equal(await call, "answered");
  });

  for (const [status, code] of [
    [429, "overloaded"],
    [503, "unavailable"],
  ] as const) {
    it(`of an answer that is no problem document is read (${status})`, async () => {
      const server = createServer((_, response) => {
        response.writeHead(status, { "Retry-After": "7" }).end("busy");
      }).listen(0, "127.0.0.1");
      try {
        await once(server, "listening");
        const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
        await using client = createIpamClient({ url, timeoutMs: 5000, retries: 0 });
        const isObeyed = { code, details: { retryAfterSeconds: 7 } };
        const check = ({ code, details: { retryAfterSeconds } }: IpamError) =>
          assert.deepEqual({ code, details: { retryAfterSeconds } }, isObeyed) === undefined;
        await assert.rejects(client.readLastSeq(), check);
        await assert.rejects(createStreams({ url })({ method: "GET", path: "/", accept: "*/*" }), check);
      } finally {
        server.close();
      }
    });
  }
});
