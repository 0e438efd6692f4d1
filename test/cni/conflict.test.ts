import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import type { Conflict } from "../../ipam-server/contract/index.ts";
import { expectError, expectSuccess, openLab } from "../lab/lab.ts";

const lab = await openLab();
after(() => lab[Symbol.asyncDispose]());

/** A machine on the pods' VLAN that the IPAM does not know, with the MAC by which it answers. */
async function useAddresses(...addresses: string[]): Promise<string> {
  const { legacy } = lab.topology;
  await legacy.ip(
    addresses.map(address => `address add ${address} dev eth0 ${address.includes(":") ? "nodad" : ""}`).join("\n"),
  );
  return (await legacy.readInterface("eth0"))?.mac ?? assert.fail("the machine has no eth0");
}

const readConflicts = async (): Promise<Conflict[]> =>
  JSON.parse(await lab.ipam.mustCtl("get", "conflicts", "-o", "json")).conflicts;

describe("an address that another machine uses", () => {
  it("is given to no pod, in either family, and the next one is", async () => {
    const mac = await useAddresses("10.100.1.10/16", "fd00:100::1001/64");
    const plugged = await lab.plug(lab.a, "moved-on");
    assert.deepEqual([plugged.ipv4, plugged.ipv6], ["10.100.1.12", "fd00:100::1002"]);
    assert.deepEqual(
      (await readConflicts()).map(({ address, mac, host }) => [address, mac, host]),
      [
        ["10.100.1.10", mac, lab.a.name],
        ["fd00:100::1001", mac, lab.a.name],
      ],
    );
    assert.ok((await plugged.endpoint.run(["ping", "-c", "1", "-W", "2", "10.100.1.10"])).code === 0);
    await lab.unplug(plugged);
  });

  it("fails an ADD that wants it, and names the MAC", async () => {
    const mac = await useAddresses("10.100.7.7/16");
    const sandbox = await lab.runtime.create("wants");
    const conf = { runtimeConfig: { ips: ["10.100.7.7/16"] }, capabilities: { ips: true } };
    const answer = await lab.runtime.add(lab.a, sandbox, conf);
    expectError(answer, answer.json?.code ?? 0, new RegExp(`10\\.100\\.7\\.7 is used by another machine: MAC ${mac}`));
    assert.equal(await sandbox.endpoint.readInterface("eth0"), undefined);
    assert.deepEqual(await lab.readPorts("wants"), []);

    await lab.topology.legacy.ip("address delete 10.100.7.7/16 dev eth0");
    await lab.ipam.mustCtl("delete", "conflict", "10.100.7.7");
    const other = await lab.plug(lab.a, "wants-other");
    await lab.unplug(other);
    expectSuccess(await lab.runtime.del(lab.a, sandbox, conf));
  });

  it("keeps a port that had it before off the network, with its address", async () => {
    const sticky = { retain: "sticky" };
    const first = await lab.plug(lab.a, "kept", sticky);
    await lab.ipam.mustCtl("release", "lab/default/kept");
    await first.endpoint.remove();
    expectSuccess(await lab.runtime.del(lab.a, first, sticky));
    const mac = await useAddresses(`${first.ipv4}/16`);
    const sandbox = await lab.runtime.create("kept");
    const answer = await lab.runtime.add(lab.b, sandbox, sticky);
    expectError(answer, 11, new RegExp(`${first.ipv4}: MAC ${mac} .*port lab/default/kept keeps the address`));
    const [port] = await lab.readPorts("kept");
    assert.deepEqual([port?.fixedIps[0]?.address, port?.binding], [first.ipv4, undefined]);
    expectSuccess(await lab.runtime.del(lab.b, sandbox, sticky));
  });
});
