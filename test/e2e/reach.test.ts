import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { ping } from "../../scripts/lab/ping.ts";
import { tcpEcho, tcpExchange } from "../../scripts/lab/tcp/exchange.ts";
import { openLab, type Plugged } from "../lab/lab.ts";

const lab = await openLab();
after(() => lab[Symbol.asyncDispose]());

const addressesOf = ({ ipv4, ipv6 }: Plugged) => [ipv4, ipv6].filter(address => address !== undefined);

describe("reachability", () => {
  it("connects dual-stack pods across nodes, to gateways and to machines outside", async () => {
    const one = await lab.plug(lab.a, "dual-1");
    const two = await lab.plug(lab.b, "dual-2");
    const near = await lab.plug(lab.a, "dual-3");
    assert.equal(addressesOf(one).length, 2);
    for (const gateway of ["10.100.0.1", "fd00:100::1"]) assert.ok(await ping(one.endpoint, gateway), gateway);
    for (const address of ["10.100.0.9", "fd00:100::9"]) assert.ok(await ping(two.endpoint, address), address);
    await using _echo = await tcpEcho(two.endpoint, 8080);
    for (const address of addressesOf(two)) {
      for (const from of [one.endpoint, near.endpoint, lab.topology.legacy]) {
        assert.ok(await ping(from, address), `${from.name} to ${address}`);
        assert.equal(await tcpExchange(from, address, 8080), undefined, `TCP from ${from.name} to ${address}`);
      }
    }
    await using _near = await tcpEcho(near.endpoint, 8080);
    for (const address of addressesOf(near)) {
      assert.equal(await tcpExchange(one.endpoint, address, 8080), undefined, `TCP on one node to ${address}`);
    }
  });

  it("connects IPv6-only pods across nodes and to their gateway", async () => {
    const one = await lab.plug(lab.a, "six-1", { families: ["ipv6"] });
    const two = await lab.plug(lab.b, "six-2", { families: ["ipv6"] });
    assert.equal(one.ipv4, undefined);
    const address = two.ipv6 ?? "";
    assert.ok(await ping(one.endpoint, "fd00:100::1"));
    assert.ok(await ping(one.endpoint, address));
    await using _echo = await tcpEcho(two.endpoint, 8080);
    assert.equal(await tcpExchange(one.endpoint, address, 8080), undefined);
  });

  it("separates VLANs, even from pods with on-link routes between them", async () => {
    const prod = await lab.plug(lab.a, "prod");
    const other = await lab.plug(lab.a, "other", { networkSelector: "env=test" });
    assert.ok(await ping(other.endpoint, "10.200.0.1"), "the pod is alive on its own VLAN");
    for (const [from, to] of [
      [prod, other],
      [other, prod],
    ] as const) {
      await from.endpoint.ip(`route add ${to.ipv4}/32 dev eth0\nroute add ${to.ipv6}/128 dev eth0`);
    }
    for (const address of addressesOf(other)) assert.ok(!(await ping(prod.endpoint, address, 1)), address);
    for (const address of addressesOf(prod)) assert.ok(!(await ping(other.endpoint, address, 1)), address);
  });

  it("reconnects running pods after OVS restarts, without a difference in CHECK", async () => {
    const one = await lab.plug(lab.a, "live-1");
    const two = await lab.plug(lab.b, "live-2");
    await lab.a.ovs.stop();
    await lab.a.ovs.start();
    for (const address of addressesOf(one)) assert.ok(await ping(two.endpoint, address), address);
    await using _echo = await tcpEcho(two.endpoint, 8080);
    for (const address of addressesOf(two)) assert.equal(await tcpExchange(one.endpoint, address, 8080), undefined);
    const check = await lab.runtime.check(lab.a, one, { prevResult: one.result });
    assert.equal(check.code, 0, check.stdout);
  });
});
