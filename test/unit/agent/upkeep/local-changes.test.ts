import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pino } from "pino";
import { KeyedQueue } from "../../../../cni/agent/calls/keyed-queue.ts";
import { readNamespace } from "../../../../cni/agent/pod/pod.ts";
import { readNodePod } from "../../../../cni/agent/pod/pods.ts";
import { HeldPorts } from "../../../../cni/agent/ports/held-ports.ts";
import { LocalChanges } from "../../../../cni/agent/upkeep/local-changes.ts";
import type { Claim } from "../../../../ipam-server/contract/index.ts";
import { namespaceObject, podObject, VIRTUAL_MACHINE } from "../pod/pods.ts";
import { local, port } from "./local.ts";

const SEGMENT = { type: "vlan", id: 100, physicalNetwork: "physnet1" } as const;

/** Claims a fenced port again; `inactive`: the IPAM has bound the port elsewhere meanwhile. */
async function claimAgain(inactive: boolean): Promise<{ claims: Claim[]; replugged: number; changed: boolean }> {
  const claims: Claim[] = [];
  let replugged = 0;
  const found = local({ isFenced: true });
  const context = {
    config: { nodeName: "node-a", cluster: "c1", networkSelector: "env=prod" },
    pods: { namespaceOf: async () => readNamespace(namespaceObject()) },
    bridges: [{ physicalNetwork: "physnet1", name: "br-int" }],
    ipam: {
      claim: async (claim: Claim) => {
        claims.push(claim);
        const facts = { segment: SEGMENT, mtu: 1500, routes: [], dns: {}, previousBindingReleased: false };
        return { port: port(), ...facts, ...(inactive && { inactive: true }) };
      },
    },
    datapath: { replug: async () => ({ hostInterface: "moor1", hostMac: "", ofport: ++replugged }) },
    held: new HeldPorts(),
    condition: { setConnected: () => undefined },
    queue: new KeyedQueue(),
    log: pino({ level: "silent" }),
  };
  const changes = new LocalChanges(context as never, { findAgain: async () => found } as never);
  const labels = { "kubevirt.io/migrationJobUID": "job-1" };
  const pod = readNodePod(podObject({ uid: "u1", owner: VIRTUAL_MACHINE, labels }));
  const changed = await changes.claimAgain(found, pod);
  return { claims, replugged, changed };
}

describe("LocalChanges: a lost binding of a migration's target", () => {
  it("is claimed for the migration, and connected if it is the port's only one", async () => {
    const { claims, replugged, changed } = await claimAgain(false);
    assert.deepEqual(claims[0]?.migration, { id: "job-1" });
    assert.deepEqual([replugged, changed], [1, true]);
  });

  it("stays disconnected if the source has claimed the port first", async () => {
    const { replugged, changed } = await claimAgain(true);
    assert.deepEqual([replugged, changed], [0, false]);
  });
});
