import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { DefaultNetwork, type PreclaimMode } from "../../../../cni/agent/claims/default-network.ts";
import { Preclaims, shouldPreclaim } from "../../../../cni/agent/claims/preclaims.ts";
import { type NodePod, type PodChange, readNodePod } from "../../../../cni/agent/pod/pods.ts";
import { HeldPorts } from "../../../../cni/agent/ports/held-ports.ts";
import { openJournal } from "../../../../cni/journal/journal.ts";
import {
  type Claim,
  IpamError,
  type Port,
  type PortAttachment,
  type Release,
} from "../../../../ipam-server/contract/index.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";

const NODE = "node-a";
const dir = await mkdtemp(join(tmpdir(), "mooring-preclaims-"));
after(() => rm(dir, { recursive: true, force: true }));

function readPod(uid: string, status: object = { phase: "Pending" }, spec: object = { nodeName: NODE }): NodePod {
  const metadata = { name: `pod-${uid}`, namespace: "default", uid, creationTimestamp: "2026-11-20T08:00:00Z" };
  return readNodePod({ metadata, spec, status });
}

describe("Preclaims", () => {
  it("claims only for pods of this node whose first container has not run", () => {
    const started = { state: { running: { startedAt: "2026-11-20T08:00:00Z" } } };
    const waiting = { state: { waiting: { reason: "ContainerCreating" } } };
    for (const [status, spec, decision] of [
      [{ phase: "Pending" }, { nodeName: NODE }, true],
      [{}, { nodeName: NODE }, true],
      [{ phase: "Pending", containerStatuses: [waiting] }, { nodeName: NODE }, true],
      [{ phase: "Pending", containerStatuses: [waiting, started] }, { nodeName: NODE }, false],
      [{ phase: "Running" }, { nodeName: NODE }, false],
      [{ phase: "Succeeded" }, { nodeName: NODE }, false],
      [{ phase: "Pending" }, {}, false],
      [{ phase: "Pending" }, { nodeName: "node-b" }, false],
      [{ phase: "Pending" }, { nodeName: NODE, hostNetwork: true }, false],
    ] as const) {
      assert.equal(shouldPreclaim(readPod("u", status, spec), NODE), decision, JSON.stringify({ status, spec }));
    }
  });

  class Harness {
    readonly held = new HeldPorts();
    readonly leased = new Set<string>();
    readonly learned: string[] = [];
    readonly claims: Claim[] = [];
    readonly releases: Release[] = [];
    readonly outcomes: string[] = [];
    readonly probed: string[] = [];
    readonly defaultNetwork: DefaultNetwork;
    readonly journal;
    answer: (claim: Claim) => Promise<PortAttachment> = async claim => attach(claim);
    isDown = false;
    readonly preclaims: Preclaims;
    notify: (change: PodChange) => void = () => {};

    constructor(name: string, mode: PreclaimMode = "auto") {
      this.defaultNetwork = new DefaultNetwork(mode);
      this.journal = openJournal(join(dir, name), { now: () => new Date() });
      this.preclaims = new Preclaims({
        nodeName: NODE,
        gatherMs: 0,
        defaultNetwork: this.defaultNetwork,
        held: this.held,
        leases: {
          reserve: claim => this.leased.has(claim.owner.uid),
          cancelReservation: uid => void this.leased.delete(uid),
          observe: (_claim, { port }) => void this.learned.push(port.name),
        },
        probes: { begin: ({ port }) => void this.probed.push(port.name) },
        journal: this.journal,
        log: pino({ level: "silent" }),
        metrics: { preclaims: { inc: ({ outcome }: { outcome: string }) => this.outcomes.push(outcome) } as never },
        claims: {
          derivePreclaim: async pod => ({
            name: `c/default/${pod.name}`,
            host: NODE,
            owner: { kind: "pod", uid: pod.uid, createdAt: pod.createdAt },
            networkSelector: "",
          }),
        },
        ipam: {
          claim: claim => {
            this.claims.push(claim);
            return this.answer(claim);
          },
          release: async releases => {
            if (this.isDown) throw new IpamError("unavailable", "down");
            this.releases.push(...releases);
            return releases.map(({ name = "" }) => ({ released: true as const, name, deleted: true }));
          },
        },
        pods: {
          subscribe: listener => {
            this.notify = listener;
            return { [Symbol.dispose]() {} };
          },
        },
      });
    }

    /** Adds a pod of this UID and waits until its claim is sent. */
    async claimFor(uid: string): Promise<Claim> {
      this.notify({ type: "present", pod: readPod(uid) });
      return waitFor("the claim", () => this.claims.find(({ owner }) => owner.uid === uid));
    }

    /** Adds a pod of this UID and waits until its claim is answered. */
    async hold(uid: string): Promise<void> {
      await this.claimFor(uid);
      await waitFor("the answer", () => this.held.size > 0);
    }

    /** Waits until all work has ended. */
    settle(): Promise<void> {
      return this.preclaims[Symbol.asyncDispose]();
    }
  }

  function attach(claim: Claim, sandboxId?: string): PortAttachment {
    const binding = { host: NODE, ownerUid: claim.owner.uid, ...(sandboxId && { sandbox: { id: sandboxId } }) };
    const port = { name: claim.name, id: "id", epoch: 1, binding } as unknown as Port;
    return { port } as PortAttachment;
  }

  it("claims once for each pod, however often it changes, and begins to probe", async () => {
    const harness = new Harness("once");
    for (let turn = 0; turn < 3; turn++) await harness.hold("u1");
    await harness.settle();
    assert.deepEqual(harness.probed, ["c/default/pod-u1"]);
    assert.equal(harness.claims.length, 1);
    assert.equal(harness.claims[0]?.sandbox, undefined);
    assert.equal(harness.held.find("u1", "eth0")?.attachment?.port.epoch, 1);
  });

  it("reserves a lease instead of a claim, and cancels it when the pod is gone", async () => {
    const harness = new Harness("leased");
    harness.leased.add("u1");
    harness.notify({ type: "present", pod: readPod("u1") });
    await harness.hold("u2");
    assert.deepEqual(
      harness.claims.map(({ owner }) => owner.uid),
      ["u2"],
    );
    assert.deepEqual(harness.learned, ["c/default/pod-u2"], "what the IPAM says of leases is learned here too");
    harness.notify({ type: "gone", pod: readPod("u1") });
    await harness.settle();
    assert.deepEqual([harness.leased.size, harness.releases.length], [0, 0]);
  });

  it("releases the port of a pod deleted before its claim is answered", async () => {
    const harness = new Harness("gone");
    const answered = Promise.withResolvers<PortAttachment>();
    harness.answer = () => answered.promise;
    const claim = await harness.claimFor("u1");
    harness.notify({ type: "gone", pod: readPod("u1") });
    answered.resolve(attach(claim));
    await harness.settle();
    const sandbox = { id: "none", interface: "eth0" };
    assert.deepEqual(harness.releases, [{ name: "c/default/pod-u1", host: NODE, ownerUid: "u1", sandbox }]);
    assert.equal(harness.held.size, 0);
  });

  it("leaves a pod with a sandbox to its DEL", async () => {
    const harness = new Harness("met");
    harness.answer = async claim => attach(claim, "s1");
    await harness.hold("u1");
    harness.notify({ type: "gone", pod: readPod("u1") });
    await harness.settle();
    assert.deepEqual(harness.releases, []);
  });

  it("journals the release of an unused port when the IPAM is down", async () => {
    const harness = new Harness("journaled");
    await harness.hold("u1");
    harness.isDown = true;
    harness.notify({ type: "gone", pod: readPod("u1") });
    await harness.settle();
    assert.equal((await harness.journal.list()).length, 1);
  });

  it("only counts a failed claim, because ADD claims again", async () => {
    const harness = new Harness("failed");
    harness.answer = () => Promise.reject(new IpamError("no_address_available", "full"));
    await harness.claimFor("u1");
    await harness.settle();
    assert.deepEqual([harness.outcomes, harness.held.size], [["failed"], 0]);
  });

  it("does not cache an answer that arrives after a DEL", async () => {
    const harness = new Harness("overtaken");
    const answered = Promise.withResolvers<PortAttachment>();
    harness.answer = () => answered.promise;
    const claim = await harness.claimFor("u1");
    // An ADD and a DEL have run in between.
    harness.held.drop("u1", "eth0");
    answered.resolve(attach(claim));
    await harness.settle();
    assert.equal(harness.held.size, 0);
  });

  const RUNS = { phase: "Running" };
  /** UIDs that are claimed for when these pods are scheduled. */
  const claimedFor = async (harness: Harness, ...uids: string[]) => {
    for (const uid of uids) harness.notify({ type: "present", pod: readPod(uid) });
    await sleep(0);
    await harness.settle();
    return harness.claims.map(({ owner }) => owner.uid);
  };

  it("stops where a pod runs without its port, because another plugin connects pods", async () => {
    const harness = new Harness("second");
    await harness.hold("u1");
    harness.notify({ type: "present", pod: readPod("u1", RUNS) });
    assert.deepEqual(await claimedFor(harness, "u2", "u3"), ["u1"]);
  });

  it("cancels the lease of a pod that runs without it", async () => {
    const harness = new Harness("second-leased");
    harness.leased.add("u1");
    harness.notify({ type: "present", pod: readPod("u1") });
    await harness.claimFor("u2");
    harness.notify({ type: "present", pod: readPod("u1", RUNS) });
    assert.equal(harness.leased.size, 0);
    assert.deepEqual(await claimedFor(harness, "u3"), ["u2"]);
  });

  it("begins again with the next ADD of a first interface", async () => {
    const harness = new Harness("again");
    await harness.hold("u1");
    harness.notify({ type: "present", pod: readPod("u1", RUNS) });
    harness.defaultNetwork.observeAdd();
    assert.equal((await harness.claimFor("u2")).owner.uid, "u2");
    await harness.settle();
  });

  it("continues after a pod that runs with its port, or that ends before it has run", async () => {
    const harness = new Harness("first");
    harness.answer = async claim => attach(claim, "s1");
    await harness.hold("u1");
    harness.notify({ type: "present", pod: readPod("u1", RUNS) });
    await harness.claimFor("u2");
    harness.notify({ type: "present", pod: readPod("u2", { phase: "Failed", reason: "Evicted" }) });
    assert.equal((await harness.claimFor("u3")).owner.uid, "u3");
    await harness.settle();
  });

  it("always and never claims if the node is configured to", async () => {
    const always = new Harness("always", "always");
    always.defaultNetwork.observeForeignPod();
    assert.equal((await always.claimFor("u1")).owner.uid, "u1");
    await always.settle();
    const never = new Harness("never", "never");
    never.defaultNetwork.observeAdd();
    assert.deepEqual(await claimedFor(never, "u1"), []);
  });
});
