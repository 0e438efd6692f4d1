import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { PLUG_STEPS } from "../../cni/datapath/datapath-context.ts";
import { cni, deriveEnvironment, PLUGIN } from "../../scripts/lab/cni.ts";
import { run } from "../../scripts/lab/command.ts";
import { BRIDGE } from "../../scripts/lab/node.ts";
import { NODE } from "../../scripts/lab/paths.ts";
import type { PodSandbox } from "../../scripts/lab/runtime.ts";
import { expectError, expectSuccess, openLab } from "../lab/lab.ts";

const FAULT_CALL = fileURLToPath(new URL("fault-call.ts", import.meta.url));

const lab = await openLab();
after(() => lab[Symbol.asyncDispose]());

/** Nothing of a pod is left: no link, no OVS port, no binding. */
async function assertNothingLeft(): Promise<void> {
  assert.deepEqual([await lab.a.listPluggedPorts(), await lab.a.listVeths()], [[], []]);
  const ports = await lab.readPorts();
  assert.deepEqual(
    ports.filter(({ binding, retention }) => binding !== undefined || retention.policy === "ephemeral"),
    [],
  );
}

describe("the CNI executable", () => {
  afterEach(assertNothingLeft);

  for (const cniVersion of ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]) {
    it(`answers ADD, ADD again, CHECK, DEL and DEL again in ${cniVersion}`, async () => {
      const conf = { cniVersion, retain: "ephemeral" };
      const sandbox = await lab.runtime.create(`life-${cniVersion}`);
      const first = expectSuccess(await lab.runtime.add(lab.a, sandbox, conf));
      assert.equal(first?.cniVersion, cniVersion);
      assert.deepEqual(expectSuccess(await lab.runtime.add(lab.a, sandbox, conf)), first);
      const [port] = await lab.readPorts(`life-${cniVersion}`);
      assert.equal(port?.epoch, 1);
      assert.equal(port?.underlay, "ACTIVE");
      if (cniVersion !== "0.3.1") {
        assert.equal((await lab.runtime.check(lab.a, sandbox, { ...conf, prevResult: first })).stdout, "");
      }
      for (let turn = 0; turn < 2; turn++) {
        assert.equal((await lab.runtime.del(lab.a, sandbox, { ...conf, prevResult: first })).stdout, "");
      }
    });
  }

  it("CHECK names a missing binding, and a pod that was unplugged", async () => {
    const { result, ...plugged } = await lab.plug(lab.a, "check");
    const conf = { prevResult: result };
    await lab.ipam.mustCtl("release", "lab/default/check");
    expectError(await lab.runtime.check(lab.a, plugged, conf), 121, /binding should be .* is none/);
    expectSuccess(await lab.runtime.del(lab.a, plugged));
    expectError(await lab.runtime.check(lab.a, plugged, conf), 121, /OVS port should be .* is nothing/);
  });

  for (const retain of ["ephemeral", "sticky"]) {
    for (const step of PLUG_STEPS) {
      it(`rolls back an ADD of a ${retain} port that fails at ${step}`, async t => {
        const sandbox = await lab.runtime.create(`fault-${step}`);
        const { code, stdout, stderr } = await callWithFault(sandbox, step, "throw", { retain });
        // Not every pod needs every step: a kernel datapath no offload change, a fenced address no wait.
        if (code === 0) {
          t.diagnostic(`${step} was not needed here`);
          expectSuccess(await lab.runtime.del(lab.a, sandbox));
          return;
        }
        assert.match(JSON.parse(stdout).msg, new RegExp(`injected at ${step}`), stderr);
        await assertNothingLeft();
        // And it is not left in a state that would keep the runtime's next try from succeeding.
        expectSuccess(await lab.runtime.add(lab.a, sandbox, { retain }));
        expectSuccess(await lab.runtime.del(lab.a, sandbox, { retain }));
      });
    }
  }

  for (const step of ["veth", "host", "ofport", "up"]) {
    it(`DEL cleans up after an ADD that was killed at ${step}`, async () => {
      const sandbox = await lab.runtime.create(`killed-${step}`);
      const { stderr } = await callWithFault(sandbox, step, "kill", { retain: "ephemeral" });
      assert.match(stderr, /SIGKILL/);
      assert.notEqual((await lab.readPorts(`killed-${step}`))[0]?.binding, undefined);
      expectSuccess(await lab.runtime.del(lab.a, sandbox));
    });
  }

  it("rolls back an ADD that the runtime ends", async () => {
    const sandbox = await lab.runtime.create("ended");
    const { code, stdout } = await callWithFault(sandbox, "ofport", "end", { retain: "ephemeral" });
    assert.equal(code, 1, stdout);
    // Undone at once, not only by a journal that waits for the next call.
    await assertNothingLeft();
  });

  it("GC removes unlisted attachments of its own network only", async () => {
    const stays = await lab.plug(lab.a, "stays");
    const goes = await lab.plug(lab.a, "goes");
    const other = await lab.plug(lab.a, "other", { name: "another" });
    const vsctl = lab.a.ovs.vsctl.bind(lab.a.ovs);
    await vsctl(
      "add-port",
      BRIDGE,
      "foreign0",
      "--",
      "set",
      "interface",
      "foreign0",
      "type=internal",
      "external_ids:iface-id=vm",
    );
    const before = await lab.a.listPluggedPorts();
    const valid = [{ containerID: stays.containerId, ifname: "eth0" }];
    const conf = { ...lab.runtime.derive(lab.a, stays).conf, "cni.dev/valid-attachments": valid };
    expectSuccess(await cni(lab.a, "GC", { conf }));

    const left = await lab.a.listPluggedPorts();
    const gone = before.filter(name => !left.includes(name));
    assert.deepEqual(gone, [goes.result.interfaces?.[0]?.name]);
    await vsctl("del-port", "foreign0");
    for (const plugged of [stays, other]) await lab.unplug(plugged);
    assert.equal((await lab.readPorts("goes"))[0]?.binding, undefined);
    await goes.endpoint.remove();
  });

  it("DEL releases and STATUS fails with 51 without OVS; GC removes the row later", async () => {
    const plugged = await lab.plug(lab.a, "ovs-away");
    await lab.a.ovs.stop();
    const { conf } = lab.runtime.derive(lab.a, plugged);
    expectError(await cni(lab.a, "STATUS", { conf }), 51, /db\.sock/);
    const answer = await lab.runtime.del(lab.a, plugged);
    expectSuccess(answer);
    assert.match(answer.stderr, /link deleted, its OVS port remains until GC/);
    assert.equal((await lab.readPorts("ovs-away"))[0]?.binding, undefined);
    await lab.a.ovs.start();
    assert.equal((await lab.a.listPluggedPorts()).length, 1);
    expectSuccess(await cni(lab.a, "STATUS", { conf }));
    expectSuccess(await cni(lab.a, "GC", { conf: { ...conf, "cni.dev/valid-attachments": [] } }));
  });

  it("gives a further interface its own table, and lists only routes that it made", async () => {
    const sandbox = await lab.plug(lab.a, "further");
    const conf = { ...lab.runtime.derive(lab.a, sandbox, { networkSelector: "env=test" }) };
    const call = { ...conf, ifname: "net1" };
    const result = expectSuccess(await cni(lab.a, "ADD", call));
    const [table] = result?.routes?.map(route => route.table) ?? [];
    assert.deepEqual(result?.routes, [
      { dst: "0.0.0.0/0", gw: "10.200.0.1", table },
      { dst: "::/0", gw: "fd00:200::1", table },
    ]);
    const shown = await sandbox.endpoint.must(["ip", "route", "show", "table", String(table)]);
    assert.match(shown, /^default via 10\.200\.0\.1 dev net1/);
    assert.match(await sandbox.endpoint.must(["ip", "route"]), /^default via 10\.100\.0\.1 dev eth0/);
    const check = { ...call, conf: { ...call.conf, prevResult: result } };
    expectSuccess(await cni(lab.a, "CHECK", check));
    for (const [, address] of (await sandbox.endpoint.must(["ip", "rule"])).matchAll(/from (10\.200\S+)/g)) {
      await sandbox.endpoint.must(["ip", "rule", "del", "from", address ?? ""]);
    }
    expectError(await cni(lab.a, "CHECK", check), 121, /rule in the pod should be from 10\.200\.\S+ lookup \d+/);
    expectSuccess(await cni(lab.a, "DEL", call));
    assert.doesNotMatch(await sandbox.endpoint.must(["ip", "-6", "rule"]), /fd00:200/);
    await lab.unplug(sandbox);
  });

  it("appends its result and interface when chained after another plugin", async () => {
    const sandbox = await lab.runtime.create("chained");
    const prevResult = {
      cniVersion: "1.0.0",
      interfaces: [{ name: "net0", sandbox: sandbox.endpoint.netns }],
      ips: [{ address: "192.168.7.2/24", interface: 0 }],
    };
    const result = expectSuccess(await lab.runtime.add(lab.a, sandbox, { cniVersion: "1.0.0", prevResult }));
    assert.deepEqual(
      result?.interfaces?.map(({ name }) => name === "net0" || name === "eth0"),
      [true, false, true],
    );
    assert.deepEqual(result?.ips?.map(ip => ip.interface).slice(0, 2), [0, 2]);
    expectSuccess(await lab.runtime.del(lab.a, sandbox, { cniVersion: "1.0.0", prevResult: result }));
  });

  it("plugs an interface whose name is no part of a port's name", async () => {
    const sandbox = await lab.runtime.create("odd");
    const call = { ...lab.runtime.derive(lab.a, sandbox, { retain: "ephemeral" }), ifname: "net+1" };
    const result = expectSuccess(await cni(lab.a, "ADD", call));
    assert.equal(result?.interfaces?.[1]?.name, "net+1");
    expectSuccess(await cni(lab.a, "CHECK", { ...call, conf: { ...call.conf, prevResult: result } }));
    expectSuccess(await cni(lab.a, "DEL", call));
    await sandbox.endpoint.remove();
  });

  it("plugs the requested address and MAC", async () => {
    const runtimeConfig = { ips: ["10.100.77.7/16"], mac: "0a:00:00:00:77:07" };
    const plugged = await lab.plug(lab.a, "wanted", { runtimeConfig, retain: "ephemeral" });
    assert.deepEqual([plugged.ipv4, plugged.mac], ["10.100.77.7", "0a:00:00:00:77:07"]);
    await lab.unplug(plugged);
  });

  const ABSENT = { cniVersion: "1.1.0", name: "n", type: "mooring", agentSocket: "/nowhere/agent.sock" };

  it("answers any input with one JSON document and an exit code", async () => {
    const base = { PATH: process.env.PATH ?? "" };
    for (const [env, input, code] of [
      [{}, "", 4],
      [{ CNI_COMMAND: "NONSENSE" }, "{}", 4],
      [{ CNI_COMMAND: "ADD" }, "\0\xff{", 6],
      [{ CNI_COMMAND: "ADD" }, "", 6],
      [{ CNI_COMMAND: "STATUS" }, '{"cniVersion":"1.1.0","agentSocket":7}', 7],
      [{ CNI_COMMAND: "STATUS" }, JSON.stringify({ ...ABSENT, ovsdb: "unix:/nowhere/db.sock" }), 51],
      [{ CNI_COMMAND: "STATUS" }, JSON.stringify({ ...ABSENT, ovsdb: lab.a.ovs.remote }), 50],
      [{ CNI_COMMAND: "GC" }, `{"cniVersion":"1.1.0","x":"${"y".repeat(1_000_000)}"}`, 7],
    ] as const) {
      const result = await run([PLUGIN], { env: { ...base, ...env }, input });
      assert.equal(result.code, 1, result.stderr);
      assert.equal(JSON.parse(result.stdout).code, code, result.stdout);
    }
  });

  it("does not wait for a terminal or a closed stdin", async () => {
    const env = { PATH: process.env.PATH ?? "", CNI_COMMAND: "VERSION" };
    for (const redirect of ["</dev/null", "<&-"]) {
      const { code, stdout } = await run(["sh", "-c", `exec "$0" ${redirect}`, PLUGIN], { env });
      assert.equal(code, 0);
      assert.equal(JSON.parse(stdout).cniVersion, "1.1.0");
    }
  });

  it("leaves the journal empty after successful calls", async () => {
    const dir = join(lab.topology.dir, lab.a.namespace, "journal");
    const entries = await readdir(dir, { recursive: true });
    assert.deepEqual(
      entries.filter(name => name.endsWith(".json")),
      [],
    );
  });

  function callWithFault(sandbox: PodSandbox, step: string, fault: string, conf: object) {
    const call = lab.runtime.derive(lab.a, sandbox, conf);
    const env = { PATH: process.env.PATH ?? "", ...deriveEnvironment("ADD", call) };
    return lab.a.run([NODE, FAULT_CALL, step, fault], { env, input: JSON.stringify(call.conf) });
  }
});
