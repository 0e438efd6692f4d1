import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { runCtl } from "./fake-io.ts";
import { errorReply, FakeServer } from "./fake-server.ts";
import { boundPort, network, unboundPort } from "./fixtures.ts";

describe("mooringctl get and describe", () => {
  it("get ports reads every page and shows one table", async () => {
    await using server = new FakeServer(({ url }) => ({
      body: url.includes("cursor=next") ? { ports: [unboundPort] } : { ports: [boundPort], nextCursor: "next" },
    }));
    const run = await runCtl(["get", "ports"], { server: await server.listen() });
    assert.equal(run.exitCode, 0);
    assert.equal(
      run.stdout,
      [
        "NAME               NETWORK   ADDRESSES                MAC                 HOST     STATE          EPOCH   RETENTION   AGE",
        "c1/default/web-0   prod-a    10.100.1.7,fd00:100::7   0a:58:0a:64:01:07   node-a   ACTIVE_BUILD   3       sticky      20m",
        "c1/default/web-1   prod-a    10.100.1.7,fd00:100::7   0a:58:0a:64:01:07   <none>   ACTIVE_BUILD   3       sticky      20m",
        "",
      ].join("\n"),
    );
    assert.equal(server.requests.length, 2);
  });

  it("get ports shows which ports are leases of their host", async () => {
    const owner = { kind: "lease", uid: "8e5d", createdAt: "2026-11-20T08:00:00.000Z" };
    const lease = { ...boundPort, name: "lease:node-a/1", owner, retention: { policy: "ephemeral" } };
    await using server = new FakeServer(() => ({ body: { ports: [lease] } }));
    const { stdout } = await runCtl(["get", "ports", "--host", "node-a"], { server: await server.listen() });
    assert.match(stdout, /^lease:node-a\/1 .* lease {2,}/m);
  });

  it("get ports sends its filters to the server", async () => {
    await using server = new FakeServer(() => ({ body: { ports: [] } }));
    const run = await runCtl(
      ["get", "ports", "-l", "app in (web,api)", "--host", "node-a", "--network", "prod-a", "--state", "bound"],
      { server: await server.listen() },
    );
    const { searchParams } = new URL(server.requests[0]?.url ?? "", "http://x");
    assert.deepEqual(Object.fromEntries(searchParams), {
      label: "app in (web,api)",
      host: "node-a",
      network: "prod-a",
      state: "bound",
      limit: "1000",
    });
    assert.deepEqual(run, { exitCode: 0, stdout: "", stderr: "No ports found.\n" });
  });

  it("JSON and YAML lists contain the API's objects of all pages", async () => {
    await using server = new FakeServer(({ url }) => ({
      body: url.includes("cursor=next") ? { ports: [unboundPort] } : { ports: [boundPort], nextCursor: "next" },
    }));
    const address = await server.listen();
    const json = await runCtl(["get", "ports", "-o", "json"], { server: address });
    assert.deepEqual(JSON.parse(json.stdout), { ports: [boundPort, unboundPort] });
    assert.equal(json.stdout, `${JSON.stringify({ ports: [boundPort, unboundPort] }, null, 2)}\n`);
    const yaml = await runCtl(["get", "ports", "-o", "yaml"], { server: address });
    assert.deepEqual(parse(yaml.stdout), { ports: [boundPort, unboundPort] });
  });

  it("empty JSON and YAML lists are still lists", async () => {
    await using server = new FakeServer(() => ({ body: { ports: [] } }));
    const address = await server.listen();
    const json = await runCtl(["get", "ports", "-o", "json"], { server: address });
    assert.deepEqual([JSON.parse(json.stdout), json.stderr], [{ ports: [] }, ""]);
    const yaml = await runCtl(["get", "ports", "-o", "yaml"], { server: address });
    assert.deepEqual([parse(yaml.stdout), yaml.stderr], [{ ports: [] }, ""]);
  });

  it("get shows one named object, also if its name has slashes", async () => {
    await using server = new FakeServer(() => ({ body: boundPort }));
    const address = await server.listen();
    const run = await runCtl(["get", "ports", "c1/default/web-0", "-o", "json"], { server: address });
    assert.deepEqual(JSON.parse(run.stdout), boundPort);
    assert.equal(server.requests[0]?.url, "/v1/ports/c1%2Fdefault%2Fweb-0");
    const both = await runCtl(["get", "ports", "c1/default/web-0", "--host", "node-a"], { server: address });
    assert.equal(both.exitCode, 2);
  });

  it("wide tables show more", async () => {
    await using server = new FakeServer(() => ({ body: { ports: [boundPort] } }));
    const { stdout } = await runCtl(["get", "ports", "-o", "wide"], { server: await server.listen() });
    assert.match(stdout, /SANDBOX +INTERFACE +MIGRATES TO +OWNER +LABELS\n/);
    assert.match(stdout, /4c1f9a +eth0 +<none> +pod\/8e5c +app=web\n/);
  });

  it("get networks sums the held addresses of its subnets", async () => {
    await using server = new FakeServer(() => ({ body: { networks: [network] } }));
    const { stdout } = await runCtl(["get", "networks", "-l", "env=prod"], { server: await server.listen() });
    assert.equal(
      stdout,
      [
        "NAME     VPC       ZONE   SEGMENT    SUBNETS                       HELD   AGE",
        "prod-a   default   az1    vlan:100   10.100.0.0/16,fd00:100::/64   50     20m",
        "",
      ].join("\n"),
    );
    assert.equal(server.requests[0]?.url, "/v1/networks?label=env%3Dprod");
  });

  it("get subnets shows usage, and rejects an unknown subnet", async () => {
    await using server = new FakeServer(() => ({
      body: { networks: [network, { ...network, name: "b", subnets: [] }] },
    }));
    const address = await server.listen();
    const { stdout } = await runCtl(["get", "subnets", "--network", "prod-a"], { server: address });
    assert.equal(
      stdout,
      [
        "CIDR            NETWORK   GATEWAY      HELD   SIZE      USED    FREED",
        "10.100.0.0/16   prod-a    10.100.0.1   25     100       25%     2",
        "fd00:100::/64   prod-a    <none>       25     ~1.8e19   <0.1%   0",
        "",
      ].join("\n"),
    );
    const one = await runCtl(["get", "subnets", "10.100.0.0/16", "-o", "json"], { server: address });
    assert.deepEqual(JSON.parse(one.stdout), { network: "prod-a", ...network.subnets[0] });
    const none = await runCtl(["get", "subnets", "10.9.0.0/16"], { server: address });
    assert.equal(none.exitCode, 1);
    assert.match(none.stderr, /no subnet 10\.9\.0\.0\/16/);
  });

  it("control characters in answers do not reach the terminal", async () => {
    await using server = new FakeServer(() => ({ body: { ports: [{ ...boundPort, mac: "\u001b[2J\nx" }] } }));
    const { stdout } = await runCtl(["get", "ports"], { server: await server.listen() });
    assert.ok(!stdout.includes("\u001b"));
    assert.equal(stdout.split("\n").length, 3);
  });

  it("describe port shows network, addresses, binding and owner", async () => {
    await using server = new FakeServer(({ url }) => ({ body: url.startsWith("/v1/ports") ? boundPort : network }));
    const { stdout, exitCode } = await runCtl(["describe", "port", boundPort.name], { server: await server.listen() });
    assert.equal(exitCode, 0);
    for (const line of [
      /^Name: +c1\/default\/web-0$/m,
      /^Network: +prod-a \(vlan:100 on physnet1, MTU 1500\)$/m,
      /^Addresses: +10\.100\.1\.7\/16 via 10\.100\.0\.1\n +fd00:100::7\/64$/m,
      /^State: +ACTIVE_BUILD \(underlay ACTIVE, overlay BUILD\)$/m,
      /^Binding: +host node-a, since .* \(20m ago\)\n +sandbox 4c1f9a, interface eth0, owner 8e5c$/m,
      /^Epoch: +3$/m,
    ]) {
      assert.match(stdout, line);
    }
  });

  it("describe port shows where it migrates to", async () => {
    const inactiveBinding = {
      ...{ host: "node-b", ownerUid: "8e5d", boundAt: boundPort.createdAt, epoch: 4, migration: { id: "m1" } },
      sandbox: { id: "77a0", interface: "eth0" },
    };
    const port = { ...boundPort, inactiveBinding };
    await using server = new FakeServer(({ url }) => ({ body: url.startsWith("/v1/ports") ? port : network }));
    const { stdout } = await runCtl(["describe", "port", boundPort.name], { server: await server.listen() });
    assert.match(stdout, /^Binding: +host node-a/m);
    assert.match(stdout, /^Migrates to: +host node-b, INACTIVE since .*\n +sandbox 77a0.*\n +migration m1, epoch 4$/m);
  });

  it("describe network shows its subnets", async () => {
    await using server = new FakeServer(() => ({ body: network }));
    const { stdout } = await runCtl(["describe", "network", "prod-a"], { server: await server.listen() });
    assert.match(stdout, /^Segment: +vlan:100 on physnet1$/m);
    assert.match(stdout, /^Subnet: +10\.100\.0\.0\/16\n {2}Gateway: +10\.100\.0\.1$/m);
    assert.match(stdout, /^ {2}Held: +25 of 100 \(25%\), 2 freed$/m);
  });

  it("get rejects an unknown name and names the command that lists names", async () => {
    await using server = new FakeServer(() => errorReply("not_found", "there is no port x"));
    const run = await runCtl(["describe", "port", "x"], { server: await server.listen() });
    assert.deepEqual(run, {
      exitCode: 1,
      stdout: "",
      stderr: "mooringctl: there is no port x\n  List what exists: mooringctl get networks, mooringctl get ports.\n",
    });
  });
});
