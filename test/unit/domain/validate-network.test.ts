import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { IpamError, NetworkManifest, SubnetSpec } from "../../../ipam-server/contract/index.ts";
import { addressAt, type NetworkDeclaration, sizeOf } from "../../../ipam-server/domain/model/catalog.ts";
import { validateNetwork } from "../../../ipam-server/domain/networks/validate-network.ts";

function manifest(
  spec: Partial<NetworkManifest["spec"]> = {},
  metadata: Partial<NetworkManifest["metadata"]> = {},
): NetworkManifest {
  return {
    apiVersion: "mooring.dev/v1",
    kind: "Network",
    metadata: { name: "net", ...metadata },
    spec: { segment: { type: "vlan", id: 10, physicalNetwork: "physnet1" }, ...spec },
  };
}

const withSubnet = (subnet: Partial<SubnetSpec>) => manifest({ subnets: [{ cidr: "10.0.0.0/24", ...subnet }] });

const other: NetworkDeclaration = validateNetwork(
  manifest(
    { segment: { type: "vlan", id: 20, physicalNetwork: "physnet1" }, subnets: [{ cidr: "10.5.0.0/16" }] },
    { name: "other" },
  ),
  [],
);

describe("validateNetwork names the field, the value and what is accepted", () => {
  const cases: [what: string, NetworkManifest, field: string, message: RegExp][] = [
    ["host bits", withSubnet({ cidr: "10.0.0.1/24" }), "spec.subnets[0].cidr", /"10\.0\.0\.1\/24".*10\.0\.0\.0\/24/],
    ["a subnet that is no CIDR", withSubnet({ cidr: "ten" }), "spec.subnets[0].cidr", /"ten".*such as/],
    ["a wide IPv6 prefix", withSubnet({ cidr: "fd00::/48" }), "spec.subnets[0].cidr", /\/64 to \/128/],
    ["a multicast subnet", withSubnet({ cidr: "224.0.0.0/24" }), "spec.subnets[0].cidr", /unicast/],
    ["a subnet of all addresses", withSubnet({ cidr: "0.0.0.0/0" }), "spec.subnets[0].cidr", /0\.0\.0\.0\/8/],
    ["a loopback subnet", withSubnet({ cidr: "127.0.1.0/24" }), "spec.subnets[0].cidr", /loopback/],
    ["a link-local IPv4 subnet", withSubnet({ cidr: "169.254.1.0/24" }), "spec.subnets[0].cidr", /link-local/],
    ["a link-local IPv6 subnet", withSubnet({ cidr: "fe80::/64" }), "spec.subnets[0].cidr", /link-local/],
    ["an IPv4-mapped subnet", withSubnet({ cidr: "::ffff:10.0.0.0/120" }), "spec.subnets[0].cidr", /mapped/],
    [
      "a gateway outside the subnet",
      withSubnet({ gateway: "10.0.1.1" }),
      "spec.subnets[0].gateway",
      /"10\.0\.1\.1".*inside 10\.0\.0\.0\/24/,
    ],
    [
      "the network address as gateway",
      withSubnet({ gateway: "10.0.0.0" }),
      "spec.subnets[0].gateway",
      /network address/,
    ],
    ["the broadcast address as gateway", withSubnet({ gateway: "10.0.0.255" }), "spec.subnets[0].gateway", /broadcast/],
    [
      "a pool outside the subnet",
      withSubnet({ pools: ["10.0.0.9-10.0.1.9"] }),
      "spec.subnets[0].pools[0]",
      /inside 10\.0\.0\.0\/24/,
    ],
    [
      "a reversed pool",
      withSubnet({ pools: ["10.0.0.9-10.0.0.8"] }),
      "spec.subnets[0].pools[0]",
      /lower address first/,
    ],
    [
      "overlapping pools",
      withSubnet({ pools: ["10.0.0.1-10.0.0.8", "10.0.0.8-10.0.0.9"] }),
      "spec.subnets[0].pools[1]",
      /10\.0\.0\.1-10\.0\.0\.8/,
    ],
    [
      "an exclusion outside the subnet",
      withSubnet({ exclude: ["10.0.1.0/28"] }),
      "spec.subnets[0].exclude[0]",
      /inside/,
    ],
    [
      "a route's next hop outside the subnet",
      withSubnet({ routes: [{ dst: "0.0.0.0/0", gw: "10.9.0.1" }] }),
      "spec.subnets[0].routes[0].gw",
      /inside/,
    ],
    [
      "a route of the other family",
      withSubnet({ routes: [{ dst: "::/0" }] }),
      "spec.subnets[0].routes[0].dst",
      /IPv4 CIDR/,
    ],
    [
      "a name server that is a name",
      withSubnet({ dns: { nameservers: ["ns1"] } }),
      "spec.subnets[0].dns.nameservers[0]",
      /IP address/,
    ],
    [
      "an invalid VLAN id",
      manifest({ segment: { type: "vlan", id: 4095, physicalNetwork: "p" } }),
      "spec.segment.id",
      /1 to 4094/,
    ],
    ["an MTU too small for IPv6", manifest({ mtu: 1279, subnets: [{ cidr: "fd00::/64" }] }), "spec.mtu", /1280/],
    ["an MTU too large", manifest({ mtu: 65_536 }), "spec.mtu", /65535/],
    ["an invalid name", manifest({}, { name: "Prod_A" }), "metadata.name", /lower-case/],
    ["invalid labels", manifest({}, { labels: { "a b": "c" } }), "metadata.labels.a b", /label key/],
    [
      "a segment of another network",
      manifest({ segment: { type: "vlan", id: 20, physicalNetwork: "physnet1" } }),
      "spec.segment",
      /network other/,
    ],
    [
      "an overlap across networks",
      withSubnet({ cidr: "10.5.1.0/24" }),
      "spec.subnets[0].cidr",
      /10\.5\.0\.0\/16 of network other/,
    ],
    [
      "an overlap within the network",
      manifest({ subnets: [{ cidr: "10.0.0.0/24" }, { cidr: "10.0.0.0/25" }] }),
      "spec.subnets[1].cidr",
      /10\.0\.0\.0\/24 of the same network/,
    ],
  ];
  for (const [what, given, field, message] of cases) {
    it(`rejects ${what}`, () => {
      assert.throws(
        () => validateNetwork(given, [other]),
        (error: IpamError) => {
          assert.equal(error.details.field, field);
          assert.ok(error.message.includes(field), error.message);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
});

describe("the pools of a network", () => {
  it("exclude gateway, exclusions, network and broadcast address", () => {
    const spec = {
      cidr: "10.0.0.0/28",
      gateway: "10.0.0.1",
      exclude: ["10.0.0.4/30", "10.0.0.12", "10.0.0.2-10.0.0.2"],
    };
    const [subnet] = validateNetwork(manifest({ subnets: [spec] }), []).subnets;
    assert.ok(subnet);
    const texts = subnet.ranges.map(({ first, last }) => `${addressAt(subnet, first)}-${addressAt(subnet, last)}`);
    assert.deepEqual(texts, ["10.0.0.3-10.0.0.3", "10.0.0.8-10.0.0.11", "10.0.0.13-10.0.0.14"]);
    assert.equal(sizeOf(subnet), 7n);
  });

  it("include every address of a /31, a /32, a /127 and a /128", () => {
    for (const [cidr, size] of [
      ["10.0.0.0/31", 2n],
      ["10.0.0.9/32", 1n],
      ["fd00::/127", 2n],
      ["fd00::9/128", 1n],
    ] as const) {
      const [subnet] = validateNetwork(manifest({ subnets: [{ cidr }] }), []).subnets;
      assert.equal(subnet && sizeOf(subnet), size, cidr);
    }
  });

  it("may overlap those of a network in another VPC", () => {
    assert.doesNotThrow(() => validateNetwork(manifest({ vpc: "lab", subnets: [{ cidr: "10.5.0.0/24" }] }), [other]));
  });
});
