import assert from "node:assert/strict";
import { after, afterEach, describe, it } from "node:test";
import { cni } from "../../scripts/lab/cni.ts";
import { ping } from "../../scripts/lab/ping.ts";
import { expectError, expectSuccess, openLab } from "../lab/lab.ts";

const lab = await openLab();
after(() => lab[Symbol.asyncDispose]());
// A refused connection fails at once; the short budget is for a server that does not answer.
const impatient = { timeoutMs: 1_000 };

describe("the plugin without its IPAM", () => {
  afterEach(() => lab.ipam.stop());

  it("cleans up in DEL and journals the release for the next call", async () => {
    const old = await lab.plug(lab.a, "web-0");
    await lab.ipam.stop("SIGKILL");
    expectSuccess(await lab.runtime.del(lab.a, old, impatient));
    assert.deepEqual([await lab.a.listPluggedPorts(), await lab.a.listVeths()], [[], []]);

    await lab.ipam.start();
    const [port] = await lab.readPorts("web-0");
    assert.equal(port?.binding?.host, lab.a.name, "the release is not delivered yet");
    const other = await lab.plug(lab.a, "web-1");
    const [released] = await lab.readPorts("web-0");
    assert.equal(released?.binding, undefined);
    assert.equal(released?.fixedIps.length, 2);
    await lab.unplug(other);
  });

  it("ends nothing when it delivers the release of a pod that has moved", async () => {
    await lab.ipam.start();
    const old = await lab.plug(lab.a, "mover");
    await lab.ipam.stop();
    expectSuccess(await lab.runtime.del(lab.a, old, impatient));
    await lab.ipam.start();
    const moved = await lab.plug(lab.b, "mover");
    assert.equal(moved.ipv4, old.ipv4);
    await lab.unplug(await lab.plug(lab.a, "courier"));
    const [port] = await lab.readPorts("mover");
    assert.equal(port?.binding?.host, lab.b.name);
    assert.ok(await ping(lab.topology.legacy, moved.ipv4 ?? ""));
  });

  it("fails ADD with try again and STATUS with 50; running pods stay connected", async () => {
    await lab.ipam.start();
    const running = await lab.plug(lab.b, "running");
    const plugged = await lab.a.listPluggedPorts();
    await lab.ipam.stop();
    const sandbox = await lab.runtime.create("late-comer");
    expectError(await lab.runtime.add(lab.a, sandbox, impatient), 11, /172\.31\.0\.1:7070/);
    assert.deepEqual(await lab.a.listPluggedPorts(), plugged);
    assert.equal(await sandbox.endpoint.readInterface("eth0"), undefined);
    const { conf } = lab.runtime.derive(lab.a, sandbox, impatient);
    expectError(await cni(lab.a, "STATUS", { conf }), 50, /IPAM/i);
    assert.ok(await ping(lab.topology.legacy, running.ipv4 ?? ""));
  });
});
