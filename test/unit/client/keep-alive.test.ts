import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { describe, it } from "node:test";
import { createIpamClient, type FullIpamClient } from "../../../ipam-server/client/client.ts";
import { TransportError } from "../../../ipam-server/client/transport-error.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";

const ROUNDS = 100;

type Close = (socket: Socket) => void;

/** Answers the first request of each connection and closes the connection as the second one arrives. */
class Harness implements AsyncDisposable {
  closed = 0;
  /** Makes new connections close as well. */
  isDown = false;
  readonly #server: Server;

  private constructor(close: Close) {
    this.#server = createServer(socket => {
      let requests = 0;
      socket.on("error", () => {});
      socket.on("data", bytes => {
        // The chunks of an upload belong to its request.
        if (!/^(GET|POST|PUT|DELETE) /.test(bytes.toString("latin1", 0, 7))) return;
        requests++;
        if (requests === 1 && !this.isDown) return void socket.write(answerFor(bytes.toString("latin1")));
        this.closed++;
        close(socket);
      });
    });
  }

  static async start(close: Close): Promise<Harness> {
    const harness = new Harness(close);
    harness.#server.listen(0, "127.0.0.1");
    await once(harness.#server, "listening");
    return harness;
  }

  open(): FullIpamClient {
    const { port } = this.#server.address() as AddressInfo;
    return createIpamClient({ url: `http://127.0.0.1:${port}`, timeoutMs: 10_000, retries: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    await once(this.#server, "close");
  }
}

function answerFor(request: string): string {
  const body = request.startsWith("POST /v1/import") ? '{"digest":"d"}' : '{"lastSeq":7}';
  return `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
}

const CLOSES: [how: string, close: Close][] = [
  ["ends it", socket => socket.end()],
  ["destroys it", socket => socket.destroy()],
  ["resets it", socket => socket.resetAndDestroy()],
];

describe("a kept-alive connection that closes as the next request arrives", () => {
  for (const [how, close] of CLOSES) {
    it(`is replaced, without a retry of the policy, when the server ${how}`, async () => {
      await using server = await Harness.start(close);
      await using client = server.open();
      for (let round = 0; round < ROUNDS; round++) assert.equal(await client.readLastSeq(), 7);
      assert.ok(server.closed >= ROUNDS - 1, `${server.closed} closed`);
    });

    it(`fails no stream when the server ${how}`, async () => {
      await using server = await Harness.start(close);
      await using client = server.open();
      for (let round = 0; round < ROUNDS / 2; round++) {
        await client.readLastSeq();
        const { digest } = await client.import(
          (async function* () {
            yield Buffer.from("a line\n");
          })(),
        );
        assert.equal(digest, "d");
        const { chunks } = await client.export();
        const bytes: Uint8Array[] = [];
        for await (const chunk of chunks) bytes.push(chunk);
        assert.equal(Buffer.concat(bytes).toString(), '{"lastSeq":7}');
      }
    });
  }

  it("fails as maybe received when the new connection closes as well", async () => {
    await using server = await Harness.start(socket => socket.destroy());
    await using client = server.open();
    await client.readLastSeq();
    server.isDown = true;
    await assert.rejects(client.readLastSeq(), (error: unknown) => {
      assert.ok(error instanceof IpamError && error.code === "unavailable");
      assert.ok(error.cause instanceof TransportError && error.cause.maybeReceived);
      return true;
    });
    assert.equal(server.closed, 2);
  });
});
