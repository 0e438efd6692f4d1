import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AddressProbes } from "../../../../cni/agent/claims/address-probes.ts";
import type { Probe, ProbeConflict } from "../../../../cni/datapath/probe/probe.ts";
import type { PortAttachment } from "../../../../ipam-server/contract/index.ts";

const BRIDGES = [{ name: "br-int", physicalNetwork: "physnet1" }];

function attach(id: string, changes: Partial<PortAttachment> = {}): PortAttachment {
  const fixedIps = [{ address: "10.0.0.5", subnet: "10.0.0.0/24", prefixLength: 24 }];
  return {
    port: { id, epoch: 1, mac: "0a:58:0a:00:00:05", fixedIps } as PortAttachment["port"],
    segment: { type: "vlan", id: 100, physicalNetwork: "physnet1" },
    ...{ mtu: 1500, routes: [], dns: {}, previousBindingReleased: false },
    ...changes,
  };
}

function start(answer: () => Promise<ProbeConflict | undefined> = async () => undefined) {
  const asked: Probe[] = [];
  const probe = (wanted: Probe) => {
    asked.push(wanted);
    return answer();
  };
  return { probes: new AddressProbes({ probe }, BRIDGES), asked };
}

describe("AddressProbes", () => {
  it("probes a claimed port once, on its own network, and keeps the result for the ADD", async () => {
    const conflict = { address: "10.0.0.5", mac: "02:00:00:00:00:09" };
    const { probes, asked } = start(async () => conflict);
    probes.begin(attach("a"));
    probes.begin(attach("a"));
    assert.deepEqual(asked, [{ bridge: "br-int", vlan: 100, addresses: ["10.0.0.5"], mac: "0a:58:0a:00:00:05" }]);
    assert.equal(await probes.find(attach("a")), conflict);
    assert.equal(probes.find(attach("b")), undefined);
  });

  it("probes nothing whose release is on record, or that this node cannot reach", () => {
    const { probes, asked } = start();
    probes.begin(attach("a", { previousBindingReleased: true }));
    probes.begin(attach("b", { segment: { type: "flat", physicalNetwork: "physnet2" } }));
    assert.deepEqual(asked, []);
  });

  it("forgets a probe that failed, so that the ADD probes itself", async () => {
    const { probes } = start(() => Promise.reject(new Error("OVSDB is away")));
    probes.begin(attach("a"));
    await assert.rejects(probes.find(attach("a")) ?? Promise.resolve(), /away/);
    assert.equal(probes.find(attach("a")), undefined);
  });

  it("keeps the newest when there are very many", () => {
    const { probes } = start();
    for (let serial = 0; serial < 5000; serial++) probes.begin(attach(`port-${serial}`));
    assert.equal(probes.find(attach("port-0")), undefined);
    assert.notEqual(probes.find(attach("port-4999")), undefined);
  });
});
