import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { findAnnotation, readAnnotations } from "../../../../cni/agent/pod/annotations.ts";
import { readNamespace, readPod } from "../../../../cni/agent/pod/pod.ts";
import { IpamError } from "../../../../ipam-server/contract/index.ts";
import { namespaceObject, podObject } from "./pods.ts";

const read = (annotations: Record<string, string>, ns: Record<string, string> = {}) =>
  readAnnotations(readPod(podObject({ annotations })), readNamespace(namespaceObject(ns)));

function rejection(annotations: Record<string, string>, ns: Record<string, string> = {}): IpamError {
  try {
    read(annotations, ns);
  } catch (error) {
    assert.ok(error instanceof IpamError);
    assert.equal(error.code, "invalid_request");
    return error;
  }
  assert.fail(`accepted ${JSON.stringify(annotations)}`);
}

const BAD: Record<string, string[]> = {
  ip: ["", "10.0.0", "10.0.0.5/24", "10.0.0.5,10.0.0.6", "fe80::1%eth0", "10.0.0.5,,fd00::5", "010.0.0.5", "web"],
  mac: ["", "0a:58:0a:00:00", "0b:58:0a:00:00:05", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "0a-58-0a-00-00-05"],
  families: ["", "ipv5", "IPv4", "ipv4 ipv6", "ipv4,ipv4", "both"],
  retain: ["", "yes", "Sticky", "0s", "24", "-1h", "1h1d", "h", "99999d", "1.5h", "24 h"],
  "retain-when-deleted": ["", "retain", "delete", "sticky", "0s", "500ms", "24", "99999d"],
  "retain-when-scaled": ["", "Keep", "Delete now", "-1h"],
  "port-name": ["", "a b", "ä", "x".repeat(254), "a\n"],
  "port-name-from": ["", "app,", "app,,shard", "app,app", "app shard", "-app", "/app"],
  "on-mismatch": ["", "ignore", "Reallocate"],
  "network-selector": ["x".repeat(4097)],
};
const trimmed = new Set(["a\n"]);

describe("an invalid annotation", () => {
  for (const [name, values] of Object.entries(BAD)) {
    for (const value of values) {
      if (trimmed.has(value)) continue;
      it(`${name}: ${JSON.stringify(value.slice(0, 20))} is rejected with what is accepted`, () => {
        const error = rejection({ [`mooring.dev/${name}`]: value });
        assert.ok(
          error.message.startsWith(`Annotation mooring.dev/${name} of pod shop/web-0 is ${JSON.stringify(value)}`),
        );
        assert.match(error.message, /; it takes \S/);
        assert.equal(error.details.field, `metadata.annotations[mooring.dev/${name}]`);
      });
    }
  }

  it("on a namespace names the namespace", () => {
    assert.match(rejection({}, { "mooring.dev/retain": "maybe" }).message, /retain of namespace shop is "maybe"/);
  });

  it("is rejected even when the pod overrides it", () => {
    rejection({ "mooring.dev/retain": "sticky" }, { "mooring.dev/retain": "maybe" });
  });

  for (const name of ["port-name", "ip", "mac"]) {
    it(`on a namespace may not be ${name}, which pods cannot share`, () => {
      const value = { "port-name": "x", ip: "10.0.0.5", mac: "0a:58:0a:00:00:05" }[name] ?? "";
      assert.match(
        rejection({}, { [`mooring.dev/${name}`]: value }).message,
        /stands on namespace shop.*on a pod only/,
      );
    });
  }

  it("with an unknown name is rejected with the known ones", () => {
    const { message } = rejection({ "mooring.dev/retian": "sticky" });
    assert.match(message, /mooring\.dev\/retian of pod shop\/web-0 is not known/);
    assert.match(message, /mooring\.dev\/retain/);
  });

  it("named like an Object member is unknown", () => {
    rejection({ "mooring.dev/constructor": "x" });
    rejection({ "mooring.dev/__proto__": "x" });
  });

  it("cannot name a port in two ways", () => {
    rejection({ "mooring.dev/port-name": "x", "mooring.dev/port-name-from": "app" });
  });

  for (const retain of ["ephemeral", "24h"]) {
    it(`cannot end a reserved port's retention: ${retain}`, () => {
      rejection({ "mooring.dev/port-name": "x", "mooring.dev/retain": retain });
    });
  }
});

describe("a valid annotation", () => {
  it("is ignored outside mooring.dev/", () => {
    assert.deepEqual(read({ "example.com/retain": "maybe", mooring: "x" }), {});
  });

  const durations: [string, number][] = [
    ["24h", 86_400],
    ["1h30m", 5_400],
    ["7d", 604_800],
    ["1d2h3m4s", 93_784],
    ["90s", 90],
    ["3650d", 315_360_000],
  ];
  for (const [value, ttlSeconds] of durations) {
    it(`retain: ${value} is ${ttlSeconds} seconds`, () => {
      assert.deepEqual(read({ "mooring.dev/retain": value }).retention, { policy: "sticky", ttlSeconds });
    });
  }

  it("may have spaces around its value and items", () => {
    assert.deepEqual(read({ "mooring.dev/families": " ipv6 , ipv4 " }).families, ["ipv6", "ipv4"]);
    assert.equal(read({ "mooring.dev/port-name": "a\n" }).portName, "a");
  });

  it("may name labels with a prefix", () => {
    const keys = ["app.kubernetes.io/name", "shard"];
    assert.deepEqual(read({ "mooring.dev/port-name-from": keys.join(",") }).portNameFrom, keys);
  });

  it("on the pod overrides only the same one of its namespace", () => {
    const requested = read(
      { "mooring.dev/families": "ipv4" },
      { "mooring.dev/families": "ipv6", "mooring.dev/retain": "sticky" },
    );
    assert.deepEqual(requested, { families: ["ipv4"], retention: { policy: "sticky" } });
  });
});

describe("findAnnotation", () => {
  const pod = readPod(
    podObject({ annotations: { "mooring.dev/network-selector": "env=", "mooring.dev/ip": "10.0.0.5" } }),
  );
  const namespace = readNamespace(
    namespaceObject({ "mooring.dev/families": "ipv6", "mooring.dev/network-selector": "x" }),
  );
  const rows: [string, string | undefined][] = [
    ["claims[3].networkSelector", "annotation mooring.dev/network-selector of pod shop/web-0"],
    ["networkSelector", "annotation mooring.dev/network-selector of pod shop/web-0"],
    ["claims[0].ips[1]", "annotation mooring.dev/ip of pod shop/web-0"],
    ["claims[0].families", "annotation mooring.dev/families of namespace shop"],
    ["claims[0].mac", undefined],
    ["claims[0].owner.uid", undefined],
    ["", undefined],
  ];
  for (const [field, expected] of rows) {
    it(`${field || "(no field)"} leads to ${expected ?? "none"}`, () => {
      assert.equal(findAnnotation(field, pod, namespace), expected);
    });
  }
});
