import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import type { CniJson } from "../../scripts/lab/cni.ts";
import { expectError, expectSuccess, type Lab, openLab, type Plugged } from "../lab/lab.ts";

const EDITED = `
apiVersion: mooring.dev/v1
kind: Network
metadata: { name: prod-a, labels: { env: test } }
spec:
  segment: { type: vlan, id: 100, physicalNetwork: physnet1 }
  mtu: 1400
  subnets:
    - cidr: 10.100.0.0/16
      gateway: 10.100.0.1
      pools: [10.100.1.10-10.100.255.254]
      routes: [{ dst: 10.0.0.0/8, gw: 10.100.0.1 }]
    - { cidr: "fd00:100::/64", gateway: "fd00:100::1", pools: ["fd00:100::1000-fd00:100::ffff"] }
`;

describe("CHECK of a pod", () => {
  let lab: Lab;
  let pod: Plugged;
  before(async () => {
    lab = await openLab();
  });
  after(() => lab?.[Symbol.asyncDispose]());
  beforeEach(async t => {
    pod = await lab.plug(lab.a, `checked-${t.name.length}`);
  });

  const check = (prevResult: CniJson = pod.result) => lab.runtime.check(lab.a, pod, { prevResult });
  const ip = (commands: string) => pod.endpoint.ip(commands);

  it("passes after tuning has changed MTU and MAC", async () => {
    await ip("link set eth0 mtu 1400 address 0a:58:0a:64:01:63");
    const interfaces = pod.result.interfaces?.map(each =>
      each.sandbox ? { ...each, mac: "0a:58:0a:64:01:63" } : each,
    );
    expectSuccess(await check({ ...pod.result, ...(interfaces && { interfaces }) }));
    expectError(await check(), 121, /MAC of eth0 should be .*, is 0a:58:0a:64:01:63/);
  });

  it("passes after sbr has moved the routes to a table of the interface", async () => {
    await ip(
      [
        `rule add from ${pod.ipv4} table 100`,
        "route add default via 10.100.0.1 dev eth0 table 100",
        "route del default",
        "route add ::/0 via fd00:100::1 dev eth0 table 100",
        "route del ::/0",
      ].join("\n"),
    );
    expectSuccess(await check());
  });

  it("names a wrong and a missing default gateway, in any table", async () => {
    await ip("route replace default via 10.100.0.9\nroute del ::/0");
    const { json } = await check();
    assert.match(json?.msg ?? "", /route in the pod should be 0.0.0.0\/0 via 10.100.0.1, is 0.0.0.0\/0 via 10.100.0.9/);
    assert.match(json?.msg ?? "", /route in the pod should be ::\/0 via fd00:100::1, is nothing/);
  });

  it("names changes of the host's end and a missing address", async () => {
    const host = pod.result.interfaces?.[0]?.name;
    await lab.a.ip(`link set ${host} mtu 1300`);
    await ip("address flush dev eth0 scope global");
    const { json } = await check();
    assert.match(json?.msg ?? "", new RegExp(`MTU of ${host} should be 1500, is 1300`));
    assert.match(json?.msg ?? "", new RegExp(`address on eth0 should be ${pod.ipv4}/16, is nothing`));
  });

  it("passes after an edit of the network, and while the IPAM is down", async () => {
    const { code, stderr } = await lab.ipam.ctl(["apply", "-f", "-"], EDITED);
    assert.equal(code, 0, stderr);
    expectSuccess(await check());
    await lab.ipam.stop("SIGKILL");
    try {
      const answer = await check();
      expectSuccess(answer);
      assert.match(answer.stderr, /the binding of lab\/default\/checked-\d+ was not compared/);
    } finally {
      await lab.ipam.start();
    }
  });
});
