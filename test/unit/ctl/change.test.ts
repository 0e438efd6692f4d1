import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { runCtl } from "./fake-io.ts";
import { errorReply, FakeServer, type Reply } from "./fake-server.ts";
import { boundPort, network, unboundPort } from "./fixtures.ts";

describe("mooringctl commands that change", () => {
  it("reserve sends the request and prints the port", async () => {
    await using server = new FakeServer(() => ({ status: 201, body: boundPort }));
    const run = await runCtl(
      [
        ...["reserve", "db", "--network-selector", "env=prod", "--ip", "10.100.1.7", "--ip", "fd00:100::7"],
        ...["--mac", "0a:58:0a:64:01:07", "--device-owner", "compute:vm", "--allow", "c1/default", "c2/*"],
        ...["--label", "app=db", "--label", "empty=", "--family", "ipv4", "ipv6"],
      ],
      { server: await server.listen() },
    );
    assert.equal(run.exitCode, 0);
    assert.match(run.stdout, /^port\/c1\/default\/web-0 reserved \(10\.100\.1\.7,fd00:100::7, MAC 0a:58.*prod-a\)\n$/);
    assert.deepEqual(server.requests, [
      {
        method: "PUT",
        url: "/v1/ports/db",
        body: {
          networkSelector: "env=prod",
          ips: ["10.100.1.7", "fd00:100::7"],
          mac: "0a:58:0a:64:01:07",
          families: ["ipv4", "ipv6"],
          deviceOwner: "compute:vm",
          allowedNamespaces: ["c1/default", "c2/*"],
          labels: { app: "db", empty: "" },
        },
      },
    ]);
  });

  /** Reads of the port give `port`; the release is answered with `result`. */
  const releasing = (port: unknown, result: unknown) =>
    new FakeServer(({ method }): Reply => ({ body: method === "GET" ? port : { results: [result] } }));

  it("release without a fence ends only the binding that was read", async () => {
    await using server = releasing(boundPort, { released: true, name: boundPort.name, deleted: false });
    const run = await runCtl(["release", boundPort.name], { server: await server.listen() });
    assert.equal(run.exitCode, 0);
    assert.match(run.stdout, /released from host node-a, sandbox 4c1f9a, interface eth0, and kept/);
    const sandbox = { id: "4c1f9a", interface: "eth0" };
    assert.deepEqual(server.requests[1]?.body, { releases: [{ name: boundPort.name, host: "node-a", sandbox }] });
  });

  it("release of a binding without a sandbox names its owner", async () => {
    const { sandbox: _, ...binding } = { ...boundPort.binding };
    await using server = releasing({ ...boundPort, binding }, { released: true, name: boundPort.name, deleted: true });
    const run = await runCtl(["release", boundPort.name], { server: await server.listen() });
    assert.match(run.stdout, /released from host node-a, owner 8e5c, and deleted/);
    assert.deepEqual(server.requests[1]?.body, {
      releases: [{ name: boundPort.name, host: "node-a", ownerUid: "8e5c" }],
    });
  });

  const migrating = {
    ...boundPort,
    inactiveBinding: {
      host: "node-b",
      ownerUid: "8e5d",
      boundAt: boundPort.createdAt,
      epoch: 4,
      migration: { id: "m1" },
    },
  };

  it("release --host ends the binding of a migration's target", async () => {
    await using server = releasing(migrating, { released: true, name: boundPort.name, deleted: false });
    const world = { server: await server.listen() };
    const run = await runCtl(["release", boundPort.name, "--host", "node-b"], world);
    assert.match(run.stdout, /released from host node-b, owner 8e5d/);
    const release = { name: boundPort.name, host: "node-b", ownerUid: "8e5d" };
    assert.deepEqual(server.requests[1]?.body, { releases: [release] });
    const elsewhere = await runCtl(["release", boundPort.name, "--host", "node-c"], world);
    assert.match(elsewhere.stdout, /is not bound on node-c: nothing to release/);
    const both = await runCtl(["release", "p", "--host", "node-b", "--fence", "host=node-b,owner=8e5d"], world);
    assert.equal(both.exitCode, 2);
    assert.match(both.stderr, /--fence and --host cannot be given together/);
  });

  it("activate makes the target's binding ACTIVE, and says what it has", async () => {
    const port = { ...boundPort, binding: migrating.inactiveBinding, epoch: 5 };
    const result = { port, segment: network.segment, mtu: 1500, routes: [], dns: {}, previousBindingReleased: false };
    await using server = new FakeServer(() => ({ body: { results: [result] } }));
    const run = await runCtl(["activate", boundPort.name, "--host", "node-b"], { server: await server.listen() });
    assert.match(
      run.stdout,
      /^port\/c1\/default\/web-0 is ACTIVE on node-b with 10\.100\.1\.7,fd00:100::7, epoch 5\n$/,
    );
    const activations = [{ name: boundPort.name, host: "node-b" }];
    assert.deepEqual(server.requests, [{ method: "POST", url: "/v1/activations", body: { activations } }]);
  });

  it("activate reports why there is nothing to activate", async () => {
    const { problem } = { problem: new IpamError("not_found", "port p has no INACTIVE binding on host b").toProblem() };
    await using server = new FakeServer(() => ({ body: { results: [{ problem }] } }));
    const run = await runCtl(["activate", "p", "--host", "b"], { server: await server.listen() });
    assert.equal(run.exitCode, 1);
    assert.match(run.stderr, /no INACTIVE binding on host b/);
  });

  it("release rejects an unexpired lease and suggests kubectl cordon", async () => {
    const lease = {
      ...boundPort,
      name: "lease:node-a/1",
      owner: { kind: "lease", uid: "8e5d", createdAt: "2026-11-20T08:00:00.000Z" },
      binding: { host: "node-a", ownerUid: "8e5d", boundAt: "2026-11-20T08:00:00.000Z" },
    };
    const released = { released: true, name: lease.name, deleted: true };
    await using current = releasing({ ...lease, expiresAt: "2999-01-01T00:00:00.000Z" }, released);
    const world = { server: await current.listen() };
    const rejected = await runCtl(["release", lease.name], world);
    assert.equal(rejected.exitCode, 1);
    assert.match(rejected.stderr, /leased to node node-a until 2999.*\n.*kubectl cordon node-a/);
    assert.equal(current.requests.length, 1);
    const fence = ["--fence", "host=node-a,owner=8e5d"];
    assert.equal((await runCtl(["release", lease.name, ...fence], world)).exitCode, 0);

    await using ended = releasing({ ...lease, expiresAt: "2020-01-01T00:00:00.000Z" }, released);
    assert.equal((await runCtl(["release", lease.name], { server: await ended.listen() })).exitCode, 0);
  });

  it("release --fence reads nothing first; a stale one exits with 1", async () => {
    await using server = releasing(boundPort, { released: false, reason: "stale", name: boundPort.name });
    const run = await runCtl(["release", boundPort.name, "--fence", "host=node-b,sandbox=77,interface=net1"], {
      server: await server.listen(),
    });
    assert.equal(run.exitCode, 1);
    assert.match(run.stderr, /nothing released: port .* is not bound to host node-b, sandbox 77, interface net1/);
    assert.deepEqual(
      server.requests.map(({ method }) => method),
      ["POST"],
    );
  });

  it("release of an unbound port succeeds and says so", async () => {
    await using server = releasing(unboundPort, undefined);
    const run = await runCtl(["release", unboundPort.name], { server: await server.listen() });
    assert.deepEqual(run, {
      exitCode: 0,
      stdout: "port/c1/default/web-1 is not bound: nothing to release\n",
      stderr: "",
    });
  });

  for (const fence of [
    "host",
    "host=",
    "sandbox=1",
    "host=a",
    "host=a,interface=eth0",
    "host=a,sandbox=1,owner=2",
    "host=a,host=b,sandbox=1",
    "node=a,sandbox=1",
  ]) {
    it(`release rejects --fence ${fence} and names the accepted form`, async () => {
      const run = await runCtl(["release", "x", "--fence", fence]);
      assert.equal(run.exitCode, 2);
      assert.match(run.stderr, /Expected host=H,sandbox=ID,interface=IF or host=H,owner=UID\./);
    });
  }

  it("delete deletes the named objects and says so", async () => {
    await using server = new FakeServer(({ url }) => (url.includes("ports") ? { body: boundPort } : { status: 204 }));
    const address = await server.listen();
    const ports = await runCtl(["delete", "port", "c1/default/web-0", "b"], { server: address });
    assert.equal(ports.stdout, "port/c1/default/web-0 deleted\nport/b deleted\n");
    const networks = await runCtl(["delete", "network", "prod-a"], { server: address });
    assert.equal(networks.stdout, "network/prod-a deleted\n");
    assert.deepEqual(
      server.requests.map(({ method, url }) => `${method} ${url}`),
      ["DELETE /v1/ports/c1%2Fdefault%2Fweb-0", "DELETE /v1/ports/b", "DELETE /v1/networks/prod-a"],
    );
  });

  it("an error names at most twenty conflicting ports", async () => {
    const ports = Array.from({ length: 23 }, (_, at) => `p${at}`);
    await using server = new FakeServer(() => errorReply("conflict", "network prod-a holds addresses", { ports }));
    const run = await runCtl(["delete", "network", "prod-a"], { server: await server.listen() });
    assert.equal(run.exitCode, 1);
    assert.match(run.stderr, /conflicting ports: p0, .*, p19 and 3 more\n/);
  });

  it("check exits with 1 if something was found, else with 0", async () => {
    const findings = [{ what: "held is 3, counted 2", where: "subnet 10.100.0.0/16" }];
    await using faulty = new FakeServer(() => ({ body: { findings } }));
    const found = await runCtl(["check"], { server: await faulty.listen() });
    assert.equal(found.exitCode, 1);
    assert.match(found.stdout, /^WHERE +WHAT\nsubnet 10\.100\.0\.0\/16 +held is 3, counted 2\n$/);
    await using healthy = new FakeServer(() => ({ body: { findings: [] } }));
    const address = await healthy.listen();
    assert.equal((await runCtl(["check"], { server: address })).exitCode, 0);
    assert.deepEqual(JSON.parse((await runCtl(["check", "-o", "json"], { server: address })).stdout), { findings: [] });
  });

  it("status shows totals of a ready server, and exits with 1 for another", async () => {
    await using ready = new FakeServer(({ url }) => ({ body: url === "/readyz" ? {} : { networks: [network] } }));
    const run = await runCtl(["status"], { server: await ready.listen() });
    assert.equal(run.exitCode, 0);
    assert.match(run.stdout, /^Ready: +yes\nNetworks: +1\nSubnets: +2\nAddresses: +50 held of ~1\.8e19, 2 freed\n$/);
    await using full = new FakeServer(() => errorReply("unavailable", "the disk is full"));
    const rejected = await runCtl(["status"], { server: await full.listen() });
    assert.equal(rejected.exitCode, 1);
    assert.match(rejected.stdout, /^Ready: +no: the disk is full\n$/);
  });

  it("confirm lets the named pass run", async () => {
    const heldPass = { id: "3fa2", releases: 30, deletions: 0, ports: 100, heldAt: "2026-11-20T08:00:00.000Z" };
    const cluster = { name: "c1", uid: "u", registeredAt: "2026-11-20T08:00:00.000Z" };
    const confirmed = { ...heldPass, confirmedUntil: "2026-11-20T08:10:00.000Z" };
    await using server = new FakeServer(() => ({ body: { ...cluster, heldPass: confirmed } }));
    const run = await runCtl(["confirm", "c1", "3fa2"], { server: await server.listen() });
    assert.equal(run.stdout, "cluster/c1: pass 3fa2 may run until 2026-11-20T08:10:00.000Z\n");
    assert.deepEqual(server.requests, [
      { method: "POST", url: "/v1/clusters/c1/confirmations", body: { pass: "3fa2" } },
    ]);
  });

  it("purge removes nothing without --yes, and says what it would remove", async () => {
    await using server = new FakeServer(() => ({ body: { ports: [boundPort, unboundPort] } }));
    const run = await runCtl(["purge", "cluster", "c1"], { server: await server.listen() });
    assert.equal(run.exitCode, 1);
    assert.match(run.stderr, /c1 has 2 ports, 1 of them bound on 1 hosts: nothing removed\n.*purge cluster c1 --yes/);
    assert.deepEqual(
      server.requests.map(({ method }) => method),
      ["GET"],
    );
  });

  it("purge removes every page of ports, then frees the name unless ports are kept", async () => {
    for (const kept of [0, 2]) {
      await using server = new FakeServer(({ method, body }): Reply => {
        if (method === "DELETE") return { status: 204 };
        const { cursor } = body as { cursor?: string };
        return { body: { deleted: 3, unbound: 1, kept, ...(cursor === undefined && { nextCursor: "x" }) } };
      });
      const run = await runCtl(["purge", "cluster", "c1", "--yes"], { server: await server.listen() });
      assert.match(run.stdout, /^cluster\/c1: 6 ports deleted, 2 reserved ones unbound, \d kept\n/);
      assert.match(
        run.stdout,
        kept === 0 ? /its name is free\n$/ : /stays registered: unprotect the ports that were kept/,
      );
      const urls = server.requests.map(({ method, url }) => `${method} ${url}`);
      assert.deepEqual(urls, [
        "POST /v1/clusters/c1/purge",
        "POST /v1/clusters/c1/purge",
        ...(kept === 0 ? ["DELETE /v1/clusters/c1"] : []),
      ]);
    }
  });

  it("protect and unprotect send the protection alone", async () => {
    for (const verb of ["protect", "unprotect"]) {
      await using server = new FakeServer(() => ({ body: boundPort }));
      const run = await runCtl([verb, boundPort.name], { server: await server.listen() });
      assert.equal(run.stdout, `port/c1/default/web-0 ${verb}ed (10.100.1.7,fd00:100::7)\n`);
      const url = "/v1/ports/c1%2Fdefault%2Fweb-0";
      assert.deepEqual(server.requests, [{ method: "PUT", url, body: { protected: verb === "protect" } }]);
    }
  });
});
