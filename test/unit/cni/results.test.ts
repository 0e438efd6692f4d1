import assert from "node:assert/strict";
import { test } from "node:test";
import { SUPPORTED_VERSIONS } from "../../../cni/spec/versions.ts";
import { Harness } from "./harness.ts";

const INTERFACES = [
  { name: "mosandbox1eth0", mac: "02:00:00:00:00:07" },
  { name: "eth0", mac: "0a:58:0a:64:01:0a", sandbox: "/proc/self/ns/net" },
];
const IPV4 = { address: "10.100.1.10/16", gateway: "10.100.0.1", interface: 1 };
const IPV6 = { address: "fd00:100::10/64", gateway: "fd00:100::1", interface: 1 };
const TAIL = {
  routes: [
    { dst: "0.0.0.0/0", gw: "10.100.0.1" },
    { dst: "::/0", gw: "fd00:100::1" },
  ],
  dns: { nameservers: ["10.0.0.53"] },
};

/** The results of one dual stack pod, whole, as each version of the spec describes them. */
const GOLDEN = {
  "0.3.1": {
    interfaces: INTERFACES,
    ips: [
      { version: "4", ...IPV4 },
      { version: "6", ...IPV6 },
    ],
    ...TAIL,
  },
  "0.4.0": {
    interfaces: INTERFACES,
    ips: [
      { version: "4", ...IPV4 },
      { version: "6", ...IPV6 },
    ],
    ...TAIL,
  },
  "1.0.0": { interfaces: INTERFACES, ips: [IPV4, IPV6], ...TAIL },
  "1.1.0": { interfaces: INTERFACES.map(entry => ({ ...entry, mtu: 1400 })), ips: [IPV4, IPV6], ...TAIL },
};

for (const cniVersion of SUPPORTED_VERSIONS) {
  test(`ADD answers a caller of ${cniVersion} in its version`, async () => {
    await using bench = await Harness.start();
    bench.ipam.ipv6 = true;
    assert.deepEqual(await bench.succeed("ADD", { cniVersion }), { cniVersion, ...GOLDEN[cniVersion] });
  });

  test(`an error to a caller of ${cniVersion} is in its version`, async () => {
    await using bench = await Harness.start();
    assert.equal((await bench.fail("ADD", { cniVersion, name: "" })).cniVersion, cniVersion);
  });

  test(`ADD of ${cniVersion} repeated for the same sandbox answers the same`, async () => {
    await using bench = await Harness.start();
    const first = await bench.succeed("ADD", { cniVersion });
    assert.deepEqual(await bench.succeed("ADD", { cniVersion }), first);
    assert.equal(bench.ipam.ports.get("c1/default/web-0")?.epoch, 1);
  });

  test(`a chained ADD of ${cniVersion} keeps what earlier plugins answered and shifts its own indexes behind it`, async () => {
    await using bench = await Harness.start();
    const family = cniVersion < "1.0.0" ? { version: "4" } : {};
    const first = { ...family, address: "192.168.0.2/24", gateway: "192.168.0.1", interface: 0 };
    const loose = { ...family, address: "192.168.9.9/32" };
    const previous = {
      cniVersion,
      interfaces: [{ name: "net1", mac: "02:00:00:00:00:01", sandbox: "/run/netns/pod" }],
      ips: [first, loose],
      routes: [{ dst: "192.168.0.0/16" }],
      dns: { nameservers: ["192.168.0.53"], search: ["svc"] },
    };
    const result = await bench.succeed("ADD", { cniVersion, prevResult: previous });
    assert.deepEqual(result.interfaces[0], previous.interfaces[0]);
    assert.equal(result.interfaces.length, 3);
    assert.deepEqual(result.ips.slice(0, 2), previous.ips);
    assert.equal(result.ips[2].interface, 2, "the pod's interface stands behind the earlier one and the host's");
    assert.deepEqual(result.routes[0], { dst: "192.168.0.0/16" });
    assert.deepEqual(result.dns, { nameservers: ["10.0.0.53"] });
  });
}

test("what 1.1.0 knows of earlier interfaces and routes is passed on to a caller of 1.1.0", async () => {
  await using bench = await Harness.start();
  const prevResult = {
    interfaces: [{ name: "vhost0", socketPath: "/run/vhost0", pciID: "0000:00:1f.6", mtu: 9000 }],
    routes: [{ dst: "10.0.0.0/8", mtu: 1400, priority: 3, scope: 0 }],
  };
  const result = await bench.succeed("ADD", { prevResult });
  assert.deepEqual(result.interfaces[0], prevResult.interfaces[0]);
  assert.deepEqual(result.routes[0], prevResult.routes[0]);
});

test("VERSION answers with the caller's version and all that are supported, and reads no configuration", async () => {
  await using bench = await Harness.start();
  for (const [asked, answered] of [
    ["0.4.0", "0.4.0"],
    ["9.9.9", "1.1.0"],
  ]) {
    const { stdout, exitCode } = await bench.call("VERSION", JSON.stringify({ cniVersion: asked }));
    assert.deepEqual(JSON.parse(stdout), { cniVersion: answered, supportedVersions: SUPPORTED_VERSIONS });
    assert.equal(exitCode, 0);
  }
  assert.equal(JSON.parse((await bench.call("VERSION", "")).stdout).cniVersion, "1.1.0");
});

test("DNS of the network configuration goes before the subnet's", async () => {
  await using bench = await Harness.start();
  const dns = { nameservers: ["1.2.3.4"], domain: "example.org" };
  assert.deepEqual((await bench.succeed("ADD", { dns })).dns, dns);
});
