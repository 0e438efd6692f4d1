import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { z } from "zod";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { claim, networkManifest, release, report } from "../../../ipam-server/http/v1/schema/requests.ts";
import { validate } from "../../../ipam-server/http/validate.ts";

const CLAIM = {
  name: "c1/default/web-0",
  host: "node-a",
  sandbox: { id: "4c1f", interface: "eth0" },
  owner: { kind: "pod", uid: "8e5c", createdAt: "2026-11-20T08:00:00Z" },
  networkSelector: "env=prod",
};
const NETWORK = {
  apiVersion: "mooring.dev/v1",
  kind: "Network",
  metadata: { name: "prod-a" },
  spec: { segment: { type: "vlan", id: 100, physicalNetwork: "physnet1" } },
};

describe("request validation", () => {
  it("accepts a valid claim and makes time and MAC canonical", () => {
    const valid = validate(claim, { ...CLAIM, mac: "0A:58:00:00:00:01" });
    assert.equal(valid.owner.createdAt, "2026-11-20T08:00:00.000Z");
    assert.equal(valid.mac, "0a:58:00:00:00:01");
  });

  it("replaces NUL in a report's message", () => {
    const valid = validate(report, { name: "p", epoch: 1, plane: "underlay", state: "ERROR", message: "no\0port" });
    assert.equal(valid.message, "no\ufffdport");
  });

  it("converts times with an offset to UTC", () => {
    const owner = { ...CLAIM.owner, createdAt: "2026-11-20T08:00:00.5+02:00" };
    assert.equal(validate(claim, { ...CLAIM, owner }).owner.createdAt, "2026-11-20T06:00:00.500Z");
  });

  /** An invalid change, the field that the error names and its message. */
  const FAULTS: [unknown, string, RegExp][] = [
    [null, "claims[3]", /null is not an object/],
    [{ ...CLAIM, name: undefined }, "claims[3].name", /is missing; it must be a string/],
    [{ ...CLAIM, name: "a b" }, "claims[3].name", /"a b" is not a port name: 1 to 253/],
    [{ ...CLAIM, name: ".." }, "claims[3].name", /is not a port name/],
    [{ ...CLAIM, nmae: 1 }, "claims[3].nmae", /unknown field; accepted are name, nameFrom, .*networkSelector/],
    [
      { ...CLAIM, retention: { policy: "stick" } },
      "claims[3].retention.policy",
      /"stick" is not one of ephemeral, sticky/,
    ],
    [
      { ...CLAIM, retention: { policy: "sticky", ttl: 3 } },
      "claims[3].retention.ttl",
      /unknown field; accepted are policy, ttlSeconds/,
    ],
    [{ ...CLAIM, ips: ["10.0.0.1", "10.0.0"] }, "claims[3].ips[1]", /"10\.0\.0" is not an IPv4 or IPv6 address/],
    [{ ...CLAIM, ips: ["fe80::1%eth0"] }, "claims[3].ips[0]", /is not an IPv4 or IPv6 address/],
    [{ ...CLAIM, families: [] }, "claims[3].families", /a list of 0 is too short: at least 1/],
    [{ ...CLAIM, mac: "01:00:5e:00:00:01" }, "claims[3].mac", /is not a unicast MAC/],
    [{ ...CLAIM, labels: { "a b": "c" } }, "claims[3].labels.a b", /"a b" is not a label key/],
    [{ ...CLAIM, labels: { a: "-" } }, "claims[3].labels.a", /"-" is not a label value/],
    [{ ...CLAIM, owner: { ...CLAIM.owner, createdAt: "yesterday" } }, "claims[3].owner.createdAt", /RFC 3339/],
    [
      { ...CLAIM, sandbox: { id: "x", interface: "a-name-too-long-for-linux" } },
      "claims[3].sandbox.interface",
      /1 to 15/,
    ],
    [
      { ...CLAIM, sandbox: { id: "x", interface: "a\0b" } },
      "claims[3].sandbox.interface",
      /without .*control characters/,
    ],
    [
      { ...CLAIM, slotOf: { application: "c1/shop/web", interface: "net,1" } },
      "claims[3].slotOf.interface",
      /that a port's name can end with/,
    ],
  ];

  for (const [value, field, message] of FAULTS) {
    it(`names ${field} and what is accepted (${message.source})`, () => {
      assert.throws(
        () => validate(claim, value, "claims[3]"),
        (error: unknown) => {
          assert.ok(error instanceof IpamError);
          assert.equal(error.code, "invalid_request");
          assert.equal(error.details.field, field);
          assert.match(error.message, message);
          assert.ok(error.message.startsWith(`${field}: `), error.message);
          return true;
        },
      );
    });
  }

  it("rejects a label __proto__ with its field", () => {
    const labels = JSON.parse('{"__proto__": "x", "app": "web"}');
    const field = "claims[3].labels.__proto__";
    assert.throws(
      () => validate(claim, { ...CLAIM, labels }, "claims[3]"),
      error => error instanceof IpamError && error.code === "invalid_request" && error.details.field === field,
    );
    assert.deepEqual(validate(claim, { ...CLAIM, labels: { constructor: "x" } }).labels, { constructor: "x" });
  });

  it("rejects the deepest possible body without a crash", () => {
    const deep = JSON.parse(`${"[".repeat(400_000)}${"]".repeat(400_000)}`);
    const shape = z.strictObject({ claims: z.array(z.unknown()) });
    assert.equal(validate(shape, { claims: [deep] }).claims.length, 1);
    assert.throws(() => validate(claim, { ...CLAIM, labels: { a: deep } }), /a label value|is not a string/);
  });

  it("rejects a release without sandbox and owner", () => {
    assert.throws(() => validate(release, { host: "node-a" }), /needs sandbox or ownerUid/);
  });

  it("names the accepted fields for an unknown nested field", () => {
    const segment = { ...NETWORK.spec.segment, vni: 5 };
    assert.throws(
      () => validate(networkManifest, { ...NETWORK, spec: { segment } }),
      /spec\.segment\.vni: unknown field; accepted are type, id, physicalNetwork/,
    );
    assert.throws(
      () => validate(networkManifest, { ...NETWORK, spec: { ...NETWORK.spec, subnets: [{ cidr: "x", gatway: "y" }] } }),
      /spec\.subnets\[0\]\.gatway: unknown field; accepted are cidr, gateway/,
    );
  });

  it("names the known segment types for an unknown one", () => {
    const segment = { type: "vxlan", id: 5 };
    assert.throws(
      () => validate(networkManifest, { ...NETWORK, spec: { segment } }),
      /spec\.segment\.type: "vxlan" is not one of flat, vlan/,
    );
  });

  it("rejects a VLAN id above 4094 with the bound", () => {
    const segment = { ...NETWORK.spec.segment, id: 4095 };
    assert.throws(
      () => validate(networkManifest, { ...NETWORK, spec: { segment } }),
      /4095 is too great: at most 4094/,
    );
  });

  it("shortens a long value in the message", () => {
    assert.throws(
      () => validate(claim, { ...CLAIM, host: "x".repeat(100_000) }),
      (error: unknown) => error instanceof Error && error.message.length < 300,
    );
  });

  it("shortens a long key in the answer", () => {
    const long = "x".repeat(5000);
    for (const body of [
      { ...CLAIM, [long]: 1 },
      { ...CLAIM, owner: { ...CLAIM.owner, [long]: 1 } },
      { ...CLAIM, labels: { [long]: "a" } },
    ]) {
      assert.throws(
        () => validate(claim, body),
        (error: IpamError) =>
          /x{77}\.\.\./.test(error.message) && error.message.length < 1000 && !error.details.field?.includes(long),
      );
    }
  });
});
