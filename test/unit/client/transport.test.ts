import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer as createPlainServer } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { createIpamClient } from "../../../ipam-server/client/client.ts";
import { openTransport } from "../../../ipam-server/client/transport.ts";
import { mayHaveBeenCarriedOut } from "../../../ipam-server/client/transport-error.ts";
import { FakeIpam } from "../../fakes/ipam-server.ts";

const patience = () => AbortSignal.timeout(5000);

test("one connection carries many exchanges, and as many are opened as are needed at once", async () => {
  await using ipam = await FakeIpam.start();
  await using transport = await openTransport({ url: ipam.url });
  for (let turn = 0; turn < 30; turn++) await transport.exchange("GET", "/readyz", undefined, patience());
  assert.equal(ipam.connections, 1);
  await Promise.all(Array.from({ length: 5 }, () => transport.exchange("GET", "/readyz", undefined, patience())));
  assert.equal(ipam.connections, 5);
  for (let turn = 0; turn < 20; turn++) await transport.exchange("GET", "/readyz", undefined, patience());
  assert.equal(ipam.connections, 5);
});

test("a connection that the server ended while it was idle is not used again", async () => {
  await using ipam = await FakeIpam.start();
  await using client = createIpamClient({ url: ipam.url, timeoutMs: 2000 });
  await client.ready();
  await ipam.dropConnections();
  await client.release([{ host: "h", sandbox: { id: "s", interface: "eth0" } }]);
  assert.equal(ipam.releases.length, 1);
});

test("the server is told how long each attempt's answer is still waited for", async () => {
  const told: number[] = [];
  const server = createPlainServer((request, response) => {
    told.push(Number(request.headers["mooring-deadline-ms"]));
    response.writeHead(told.length < 3 ? 503 : 200, { "Content-Type": "application/json" }).end("{}");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await using client = createIpamClient({ url, timeoutMs: 20_000 });
  await client.release([]).catch(() => {});
  server.close();
  const [first = 0, second = 0, third = 0] = told;
  assert.ok(first <= 20_000 && second < first && third < second && third > 0, told.join());
});

test("when a kept connection turns out to be dead, so are the others, and the next call opens its own", async () => {
  await using ipam = await FakeIpam.start();
  await using transport = await openTransport({ url: ipam.url });
  await Promise.all([1, 2, 3].map(() => transport.exchange("GET", "/readyz", undefined, patience())));
  assert.equal(ipam.connections, 3);
  ipam.instead.push("say nothing");
  await assert.rejects(transport.exchange("GET", "/readyz", undefined, AbortSignal.timeout(50)));
  await transport.exchange("GET", "/readyz", undefined, patience());
  assert.equal(ipam.connections, 4);
});

test("a server that answers others meanwhile is only slow: its other connections stay", async () => {
  await using ipam = await FakeIpam.start();
  await using transport = await openTransport({ url: ipam.url });
  await Promise.all([1, 2, 3].map(() => transport.exchange("GET", "/readyz", undefined, patience())));
  ipam.instead.push("say nothing");
  const ended = new AbortController();
  const slow = transport.exchange("GET", "/readyz", undefined, ended.signal);
  await transport.exchange("GET", "/readyz", undefined, patience());
  ended.abort();
  await assert.rejects(slow);
  await Promise.all([1, 2].map(() => transport.exchange("GET", "/readyz", undefined, patience())));
  assert.equal(ipam.connections, 3);
});

test("a name with several addresses, all of which refuse, has a reason", async () => {
  await using client = createIpamClient({ url: "http://localhost:9", timeoutMs: 500 });
  await assert.rejects(client.ready(), /http:\/\/localhost:9: .*ECONNREFUSED/);
});

test("over TLS the certificate is held against caFile, and a refusal says that nothing was sent", async () => {
  const dir = await mkdtemp(join(tmpdir(), "mooring-tls-"));
  const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")];
  const subject = ["-subj", "/CN=ipam", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  execFileSync("openssl", ["req", "-x509", "-nodes", ...curve, "-keyout", key, "-out", cert, ...subject], {
    stdio: "ignore",
  });
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
    await using stranger = createIpamClient({ url: `https://127.0.0.1:${port}`, timeoutMs: 2000 });
    await assert.rejects(stranger.ready(), (error: Error) => {
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
