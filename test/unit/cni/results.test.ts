import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { formatResult } from "../../../cni/spec/result.ts";
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

/** The complete results of one dual-stack pod, as each version of the spec describes them. */
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

describe("results", () => {
  it("list a route of another table only where a version can say so", () => {
    const main = { dst: "198.51.100.0/24", gw: "10.200.1.1" };
    const own = { dst: "0.0.0.0/0", gw: "10.200.1.1", table: 20_000_000 };
    for (const [cniVersion, routes] of [
      ["1.0.0", [main]],
      ["1.1.0", [main, own]],
    ] as const) {
      const result = formatResult({ interfaces: [], ips: [], routes: [main, own], dns: {} }, cniVersion);
      assert.deepEqual(JSON.parse(result).routes, routes);
    }
  });

  for (const cniVersion of SUPPORTED_VERSIONS) {
    it(`answers ADD of ${cniVersion} in that version`, async () => {
      await using harness = await Harness.start();
      harness.ipam.ipv6 = true;
      assert.deepEqual(await harness.succeed("ADD", { cniVersion }), { cniVersion, ...GOLDEN[cniVersion] });
    });

    it(`formats an error of ${cniVersion} in that version`, async () => {
      await using harness = await Harness.start();
      assert.equal((await harness.fail("ADD", { cniVersion, name: "" })).cniVersion, cniVersion);
    });

    it(`answers a repeated ADD of ${cniVersion} with the same result`, async () => {
      await using harness = await Harness.start();
      const first = await harness.succeed("ADD", { cniVersion });
      assert.deepEqual(await harness.succeed("ADD", { cniVersion }), first);
      assert.equal(harness.ipam.ports.get("c1/default/web-0")?.epoch, 1);
    });

    it(`appends a chained ADD of ${cniVersion} to prevResult and shifts its indexes`, async () => {
      await using harness = await Harness.start();
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
      const result = await harness.succeed("ADD", { cniVersion, prevResult: previous });
      assert.deepEqual(result.interfaces[0], previous.interfaces[0]);
      assert.equal(result.interfaces.length, 3);
      assert.deepEqual(result.ips.slice(0, 2), previous.ips);
      assert.equal(result.ips[2].interface, 2, "the pod's interface follows the earlier one and the host's");
      assert.deepEqual(result.routes[0], { dst: "192.168.0.0/16" });
      assert.deepEqual(result.dns, { nameservers: ["10.0.0.53"] });
    });
  }

  it("copies the 1.1.0 fields of earlier interfaces and routes for 1.1.0 callers", async () => {
    await using harness = await Harness.start();
    const prevResult = {
      interfaces: [{ name: "vhost0", socketPath: "/run/vhost0", pciID: "0000:00:1f.6", mtu: 9000 }],
      routes: [{ dst: "10.0.0.0/8", mtu: 1400, priority: 3, scope: 0 }],
    };
    const result = await harness.succeed("ADD", { prevResult });
    assert.deepEqual(result.interfaces[0], prevResult.interfaces[0]);
    assert.deepEqual(result.routes[0], prevResult.routes[0]);
  });

  it("answers VERSION with the caller's and all supported versions, unvalidated", async () => {
    await using harness = await Harness.start();
    for (const [requested, answered] of [
      ["0.4.0", "0.4.0"],
      ["9.9.9", "1.1.0"],
    ]) {
      const { stdout, exitCode } = await harness.call("VERSION", JSON.stringify({ cniVersion: requested }));
      assert.deepEqual(JSON.parse(stdout), { cniVersion: answered, supportedVersions: SUPPORTED_VERSIONS });
      assert.equal(exitCode, 0);
    }
    assert.equal(JSON.parse((await harness.call("VERSION", "")).stdout).cniVersion, "1.1.0");
  });

  it("prefers the configuration's DNS to the subnet's", async () => {
    await using harness = await Harness.start();
    const dns = { nameservers: ["1.2.3.4"], domain: "example.org" };
    assert.deepEqual((await harness.succeed("ADD", { dns })).dns, dns);
  });
});
