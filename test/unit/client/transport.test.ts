import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFile, mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer as createPlainServer } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createIpamClient } from "../../../ipam-server/client/client.ts";
import { openTransport } from "../../../ipam-server/client/transport.ts";
import { mayHaveBeenCarriedOut } from "../../../ipam-server/client/transport-error.ts";
import { FakeIpam } from "../../fakes/ipam-server.ts";

const deadline = () => AbortSignal.timeout(5000);

describe("transport", () => {
  it("reuses one connection, and opens more only for concurrent exchanges", async () => {
    await using ipam = await FakeIpam.start();
    await using transport = await openTransport({ url: ipam.url });
    for (let turn = 0; turn < 30; turn++) await transport.exchange({ method: "GET", path: "/readyz" }, deadline());
    assert.equal(ipam.connections, 1);
    await Promise.all(
      Array.from({ length: 5 }, () => transport.exchange({ method: "GET", path: "/readyz" }, deadline())),
    );
    assert.equal(ipam.connections, 5);
    for (let turn = 0; turn < 20; turn++) await transport.exchange({ method: "GET", path: "/readyz" }, deadline());
    assert.equal(ipam.connections, 5);
  });

  it("does not reuse a connection that the server closed while idle", async () => {
    await using ipam = await FakeIpam.start();
    await using client = createIpamClient({ url: ipam.url, timeoutMs: 2000 });
    await client.ready();
    await ipam.dropConnections();
    await client.release([{ host: "h", sandbox: { id: "s", interface: "eth0" } }]);
    assert.equal(ipam.releases.length, 1);
  });

  it("sends the remaining deadline with each attempt", async () => {
    const deadlines: number[] = [];
    const server = createPlainServer((request, response) => {
      deadlines.push(Number(request.headers["mooring-deadline-ms"]));
      response.writeHead(deadlines.length < 3 ? 503 : 200, { "Content-Type": "application/json" }).end("{}");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    await using client = createIpamClient({ url, timeoutMs: 20_000 });
    await client.release([]).catch(() => {});
    server.close();
    const [first = 0, second = 0, third = 0] = deadlines;
    assert.ok(first <= 20_000 && second < first && third < second && third > 0, deadlines.join());
  });

  it("drops all idle connections when one turns out to be dead", async () => {
    await using ipam = await FakeIpam.start();
    await using transport = await openTransport({ url: ipam.url });
    await Promise.all([1, 2, 3].map(() => transport.exchange({ method: "GET", path: "/readyz" }, deadline())));
    assert.equal(ipam.connections, 3);
    ipam.instead.push("say nothing");
    await assert.rejects(transport.exchange({ method: "GET", path: "/readyz" }, AbortSignal.timeout(50)));
    await transport.exchange({ method: "GET", path: "/readyz" }, deadline());
    assert.equal(ipam.connections, 4);
  });

  it("keeps the other connections when a slow server still answers them", async () => {
    await using ipam = await FakeIpam.start();
    await using transport = await openTransport({ url: ipam.url });
    await Promise.all([1, 2, 3].map(() => transport.exchange({ method: "GET", path: "/readyz" }, deadline())));
    ipam.instead.push("say nothing");
    const ended = new AbortController();
    const slow = transport.exchange({ method: "GET", path: "/readyz" }, ended.signal);
    await transport.exchange({ method: "GET", path: "/readyz" }, deadline());
    ended.abort();
    await assert.rejects(slow);
    await Promise.all([1, 2].map(() => transport.exchange({ method: "GET", path: "/readyz" }, deadline())));
    assert.equal(ipam.connections, 3);
  });

  it("gives a reason when every address of a name refuses the connection", async () => {
    await using client = createIpamClient({ url: "http://localhost:9", timeoutMs: 500 });
    await assert.rejects(client.ready(), /http:\/\/localhost:9: .*ECONNREFUSED/);
  });

  it("verifies the certificate against caFile, and reports that nothing was sent", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mooring-tls-"));
    const { key, cert } = makeCertificate(dir, "first");
    const server = createServer({ key: await readFile(key), cert: await readFile(cert) }, (_, response) =>
      response.end("{}"),
    );
    await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as AddressInfo;
      for (const host of ["127.0.0.1", "localhost"]) {
        await using client = createIpamClient({ url: `https://${host}:${port}`, caFile: cert, timeoutMs: 2000 });
        await client.ready();
      }
      await using untrusting = createIpamClient({ url: `https://127.0.0.1:${port}`, timeoutMs: 2000 });
      await assert.rejects(untrusting.ready(), (error: Error) => {
        assert.match(error.message, /self-signed certificate/);
        assert.equal(mayHaveBeenCarriedOut(error), false);
        return true;
      });
    } finally {
      server.closeAllConnections();
      server.close();
      await rm(dir, { recursive: true });
    }
  });

  it("trusts a rotated authority at the next connection", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mooring-tls-"));
    const [first, second] = [makeCertificate(dir, "first"), makeCertificate(dir, "second")];
    const caFile = join(dir, "ca.pem");
    await copyFile(first.cert, caFile);
    const server = createServer({ key: await readFile(first.key), cert: await readFile(first.cert) }, (_, response) =>
      response.end("{}"),
    );
    await new Promise<void>(resolve => server.listen(0, "127.0.0.1", resolve));
    try {
      const { port } = server.address() as AddressInfo;
      await using client = createIpamClient({ url: `https://127.0.0.1:${port}`, caFile, timeoutMs: 2000 });
      await client.ready();
      await copyFile(second.cert, caFile);
      server.setSecureContext({ key: await readFile(second.key), cert: await readFile(second.cert) });
      server.closeAllConnections();
      await client.ready();
      await rm(caFile);
      server.closeAllConnections();
      await assert.rejects(client.ready(), /"caFile" cannot be read: ENOENT/);
    } finally {
      server.closeAllConnections();
      server.close();
      await rm(dir, { recursive: true });
    }
  });
});

/** A self-signed certificate of this host's names, which is its own authority. */
function makeCertificate(dir: string, name: string): { key: string; cert: string } {
  const [key, cert] = [join(dir, `${name}-key.pem`), join(dir, `${name}-cert.pem`)];
  const subject = ["-subj", "/CN=ipam", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  execFileSync("openssl", ["req", "-x509", "-nodes", ...curve, "-keyout", key, "-out", cert, ...subject], {
    stdio: "ignore",
  });
  return { key, cert };
}
