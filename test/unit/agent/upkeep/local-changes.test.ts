import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pino } from "pino";
import { KeyedQueue } from "../../../../cni/agent/calls/keyed-queue.ts";
import { AgentMetrics } from "../../../../cni/agent/metrics.ts";
import { readNamespace } from "../../../../cni/agent/pod/pod.ts";
import { readNodePod } from "../../../../cni/agent/pod/pods.ts";
import { HeldPorts } from "../../../../cni/agent/ports/held-ports.ts";
import { LocalChanges } from "../../../../cni/agent/upkeep/local-changes.ts";
import type { LocalPort } from "../../../../cni/agent/upkeep/local-port.ts";
import type { Claim } from "../../../../ipam-server/contract/index.ts";
import { namespaceObject, podObject, STATEFUL_SET, VIRTUAL_MACHINE } from "../pod/pods.ts";
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

/** Fences the port of a pod of this owner. Resolves with the reasons of the conditions that were set. */
async function fence(owner: typeof VIRTUAL_MACHINE, reason: "moved" | "released"): Promise<string[]> {
  const faults: string[] = [];
  const found = local();
  const context = {
    pods: { items: new Map([["u1", readNodePod(podObject({ uid: "u1", owner }))]]) },
    datapath: { fence: async () => true },
    held: new HeldPorts(),
    condition: { setFault: (_uid: string, fault: string) => void faults.push(fault) },
    metrics: new AgentMetrics(),
    queue: new KeyedQueue(),
    log: pino({ level: "silent" }),
  };
  await new LocalChanges(context as never, { findAgain: async () => found } as never).fence(found, reason);
  return faults;
}

describe("LocalChanges: a fenced pod", () => {
  it("is marked for operators when its port has moved or was released", async () => {
    assert.deepEqual(await fence(STATEFUL_SET, "moved"), ["AddressMoved"]);
    assert.deepEqual(await fence(VIRTUAL_MACHINE, "released"), ["AddressReleased"]);
  });

  it("is not marked when it is the source of a migration, which KubeVirt ends", async () => {
    assert.deepEqual(await fence(VIRTUAL_MACHINE, "moved"), []);
  });
});

/** Connects the port again. Resolves with the netns of each announcement. */
async function reconnect(found: LocalPort, failure?: Error): Promise<{ announced: string[]; changed: boolean }> {
  const announced: string[] = [];
  const context = {
    bridges: [{ physicalNetwork: "physnet1", name: "br-int" }],
    ipam: { readNetwork: async () => ({ segment: SEGMENT }) },
    datapath: {
      replug: async () => ({ hostInterface: "moor1", ofport: 1 }),
      announce: async (netns: string) => {
        announced.push(netns);
        if (failure) throw failure;
      },
    },
    condition: { setConnected: () => undefined },
    queue: new KeyedQueue(),
    log: pino({ level: "silent" }),
  };
  const changes = new LocalChanges(context as never, { findAgain: async () => found } as never);
  return { changed: await changes.replug(found, port()), announced };
}

describe("LocalChanges: a port that is connected again", () => {
  const netns = "/run/netns/s1";

  it("announces its addresses after a fence, even if OVS has lost its record", async () => {
    const fenced = local({ isFenced: true }, { netns });
    const { ovs, ...link } = fenced;
    for (const found of [fenced, { ...link, ...(ovs && { lastKnown: ovs }) }]) {
      assert.deepEqual(await reconnect(found), { announced: [netns], changed: true });
    }
    assert.deepEqual(await reconnect(fenced, new Error("no carrier")), { announced: [netns], changed: true });
  });

  it("announces nothing if it was not fenced", async () => {
    assert.deepEqual(await reconnect(local({}, { netns })), { announced: [], changed: true });
  });
});
