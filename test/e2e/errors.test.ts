import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";
import { cni } from "../../scripts/lab/cni.ts";
import { expectError, expectSuccess, openLab } from "../lab/lab.ts";

const lab = await openLab();
after(() => lab[Symbol.asyncDispose]());

describe("errors of ADD", () => {
  // After any failure: no link, no OVS port, no address held.
  afterEach(async () => {
    assert.deepEqual([await lab.a.listPluggedPorts(), await lab.a.listVeths()], [[], []]);
    assert.deepEqual(
      (await lab.readPorts()).filter(({ binding }) => binding !== undefined),
      [],
    );
  });

  it("names a missing bridge", async () => {
    const sandbox = await lab.runtime.create("no-bridge");
    expectError(await lab.runtime.add(lab.a, sandbox, { bridge: "br-nowhere" }), 11, /br-nowhere/);
    assert.equal(await sandbox.endpoint.readInterface("eth0"), undefined);
  });

  it("names a missing netns", async () => {
    const sandbox = await lab.runtime.create("no-netns");
    const call = { ...lab.runtime.derive(lab.a, sandbox), netns: "/run/netns/nowhere" };
    expectError(await cni(lab.a, "ADD", call), 4, /\/run\/netns\/nowhere/);
  });

  it("names a selector that no network matches", async () => {
    const sandbox = await lab.runtime.create("no-network");
    expectError(await lab.runtime.add(lab.a, sandbox, { networkSelector: "env=moon" }), 102, /env=moon/);
  });

  it("names an invalid selector and its fault", async () => {
    const sandbox = await lab.runtime.create("bad-selector");
    expectError(await lab.runtime.add(lab.a, sandbox, { networkSelector: "env in prod" }), 7, /env in prod/);
  });

  it("names an OVSDB that does not answer", async () => {
    const sandbox = await lab.runtime.create("no-ovsdb");
    expectError(await lab.runtime.add(lab.a, sandbox, { ovsdb: "unix:/nowhere/db.sock" }), 11, /\/nowhere\/db\.sock/);
  });

  it("names an unknown key of the configuration and the likely one", async () => {
    const sandbox = await lab.runtime.create("bad-key");
    expectError(
      await lab.runtime.add(lab.a, sandbox, { networkSelecter: "env=prod" }),
      7,
      /networkSelecter.*networkSelector/s,
    );
  });

  it("reports a full network until a pod's address is free after the reuse delay", async () => {
    const conf = { networkSelector: "env=tiny", retain: "ephemeral" };
    const holder = await lab.plug(lab.a, "holder", conf);
    assert.equal(holder.ipv4, "10.30.0.2");
    const sandbox = await lab.runtime.create("no-room");
    expectError(await lab.runtime.add(lab.a, sandbox, conf), 104, /tiny|10\.30\.0\.0\/30/);
    await lab.unplug(holder);
    // The freed address is still warm in neighbours' caches.
    expectError(await lab.runtime.add(lab.a, sandbox, conf), 104, /tiny|10\.30\.0\.0\/30/);
    expectSuccess(await lab.runtime.del(lab.a, sandbox, conf));
  });
});
