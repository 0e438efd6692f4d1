import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { type HealthChecks, HealthServer } from "../../../ipam-server/process/health-server.ts";

const REGISTRY = {
  contentType: "text/plain; version=0.0.4; charset=utf-8",
  metrics: async () => "mooring_up 1\n",
} as const;
const TCP = { type: "tcp", host: "127.0.0.1", port: 0 } as const;

async function get(server: HealthServer, path: string): Promise<[status: number | undefined, body: string]> {
  const { address } = server;
  const target = typeof address === "string" ? { socketPath: address } : { host: "127.0.0.1", port: address?.port };
  const { promise, resolve, reject } = Promise.withResolvers<[number | undefined, string]>();
  request({ ...target, path }, async response => {
    let body = "";
    for await (const chunk of response) body += chunk;
    resolve([response.statusCode, body]);
  })
    .on("error", reject)
    .end();
  return promise;
}

const start = (checks: HealthChecks) => HealthServer.start(TCP, checks, REGISTRY);

describe("HealthServer", () => {
  it("answers 200 for a process that works and is ready, with its metrics", async () => {
    await using server = await start({ findObstacles: () => [] });
    assert.deepEqual(await get(server, "/healthz"), [200, "ok\n"]);
    assert.deepEqual(await get(server, "/readyz?verbose"), [200, "ok\n"]);
    assert.deepEqual(await get(server, "/metrics"), [200, "mooring_up 1\n"]);
  });

  it("answers 503 to /readyz with each obstacle on a line, and 200 to /healthz", async () => {
    await using server = await start({ findObstacles: async () => ["no socket", "no pods"] });
    assert.deepEqual(await get(server, "/readyz"), [503, "no socket\nno pods\n"]);
    assert.deepEqual(await get(server, "/healthz"), [200, "ok\n"]);
  });

  it("answers 503 to /healthz when the process should be restarted", async () => {
    await using server = await start({ findFaults: () => ["no pass has ended"], findObstacles: () => [] });
    assert.deepEqual(await get(server, "/healthz"), [503, "no pass has ended\n"]);
  });

  it("answers 500 when a check itself fails, and 404 to another path", async () => {
    await using server = await start({ findObstacles: () => Promise.reject(new Error("broken")) });
    assert.deepEqual(await get(server, "/readyz"), [500, "Error: broken\n"]);
    const [status, body] = await get(server, "/");
    assert.equal(status, 404);
    assert.match(body, /\/healthz, \/readyz and \/metrics/);
  });

  it("replaces the socket file that a crashed process left", async () => {
    const folder = await mkdtemp(join(tmpdir(), "mooring-health-"));
    const path = join(folder, "health.sock");
    writeFileSync(path, "");
    {
      await using server = await HealthServer.start({ type: "unix", path }, { findObstacles: () => [] }, REGISTRY);
      assert.deepEqual(await get(server, "/readyz"), [200, "ok\n"]);
    }
    await rm(folder, { recursive: true });
  });

  it("rejects when the address is in use", async () => {
    await using server = await start({ findObstacles: () => [] });
    const { address } = server;
    const port = typeof address === "object" && address !== null ? address.port : assert.fail();
    await assert.rejects(HealthServer.start({ ...TCP, port }, { findObstacles: () => [] }, REGISTRY), /EADDRINUSE/);
  });
});
