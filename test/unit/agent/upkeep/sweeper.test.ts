import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { pino } from "pino";
import { AgentMetrics } from "../../../../cni/agent/metrics.ts";
import type { NodePod } from "../../../../cni/agent/pod/pods.ts";
import { HeldPorts } from "../../../../cni/agent/ports/held-ports.ts";
import type { LocalPort } from "../../../../cni/agent/upkeep/local-port.ts";
import { Sweeper, type SweeperOptions } from "../../../../cni/agent/upkeep/sweeper.ts";
import type { Port, Recovery, RecoveryReport } from "../../../../ipam-server/contract/index.ts";
import { local, port, SELF } from "./local.ts";

const POD = { uid: "u1", finished: false } as NodePod;

/** A node whose sweeps have no grace, so that the second one removes. */
class Node {
  watched: Map<string, NodePod> | undefined = new Map();
  /** What the API server answers; undefined: it does not. */
  fresh: Map<string, NodePod> | undefined = new Map();
  local: LocalPort[] = [];
  bindings: Port[] = [];
  readonly fetched: string[][] = [];
  readonly removed: string[] = [];
  readonly reports: RecoveryReport[] = [];
  recovery: Recovery = { active: false };
  /** The port that the IPAM has, if it is bound elsewhere. */
  other: Port | undefined;
  isAway = false;
  readonly sweeper: Sweeper;

  constructor() {
    const node = this;
    const context = {
      config: { nodeName: SELF.host, cluster: SELF.cluster, sweepGrace: 0 },
      ipam: {
        readPortsOfHost: async () => this.bindings,
        readPort: async () => {
          if (this.isAway) throw new Error("the IPAM is away");
          return this.other;
        },
        reportRecovery: async (report: RecoveryReport) => {
          this.reports.push(report);
          return this.recovery;
        },
      },
      held: new HeldPorts(),
      leases: { ports: () => [], isInUse: () => false, dropWhere: () => {} },
      unreported: { has: () => false },
      pods: {
        get items() {
          return node.watched;
        },
        async fetch(uids: ReadonlySet<string>) {
          node.fetched.push([...uids]);
          if (node.fresh === undefined) throw new Error("Kubernetes is down");
          return node.fresh;
        },
      },
      metrics: new AgentMetrics(),
      log: pino({ level: "silent" }),
    };
    const changes = {
      release: async ({ name }: Port) => void this.removed.push(`release ${name}`),
      fence: async () => void this.removed.push("fence"),
      unplug: async (_: LocalPort, release: boolean) => void this.removed.push(release ? "unplug+release" : "unplug"),
      claimAgain: async (_: LocalPort, { uid }: NodePod) => void this.removed.push(`claim for ${uid}`),
    };
    const view = { read: async () => this.local };
    this.sweeper = new Sweeper({
      context,
      view,
      changes,
      migrations: { states: new Map() },
    } as never as SweeperOptions);
  }

  async sweepTwice(): Promise<void> {
    await this.sweeper.sweep();
    await this.sweeper.sweep();
  }
}

describe("Sweeper", () => {
  it("releases a binding after a fresh read has confirmed that its pod is gone", async () => {
    const node = new Node();
    node.bindings = [port()];
    await node.sweeper.sweep();
    assert.deepEqual([node.fetched, node.removed], [[], []]);
    await node.sweeper.sweep();
    assert.deepEqual(node.fetched, [["u1"]]);
    assert.deepEqual(node.removed, ["release c1/default/web-0"]);
  });

  it("keeps a binding whose pod only the watch lacks", async () => {
    const node = new Node();
    node.bindings = [port()];
    node.fresh = new Map([["u1", POD]]);
    await node.sweepTwice();
    assert.deepEqual(node.removed, []);
  });

  it("keeps a binding while its pod cannot be read", async () => {
    const node = new Node();
    node.bindings = [port()];
    node.fresh = undefined;
    await node.sweepTwice();
    assert.deepEqual(node.removed, []);
  });

  it("keeps a binding before the watch has listed the pods", async () => {
    const node = new Node();
    node.bindings = [port()];
    node.watched = undefined;
    await node.sweepTwice();
    assert.deepEqual(node.removed, []);
  });

  it("unplugs what has no interface while Kubernetes is down, and releases nothing", async () => {
    const node = new Node();
    node.local = [local({ hasLink: false, sandbox: "gone" })];
    node.bindings = [port()];
    node.fresh = undefined;
    await node.sweepTwice();
    assert.deepEqual(node.removed, ["unplug"]);
  });

  it("reads no pod while all is as it should be", async () => {
    const node = new Node();
    node.local = [local()];
    node.bindings = [port()];
    node.watched = new Map([["u1", POD]]);
    await node.sweepTwice();
    assert.deepEqual([node.fetched, node.removed], [[], []]);
  });

  it("claims a lost binding again only for a pod that a fresh read has", async () => {
    const node = new Node();
    node.local = [local()];
    node.watched = new Map([["u1", POD]]);
    await node.sweeper.sweep();
    assert.deepEqual(node.removed, []);
    node.fresh = new Map([["u1", POD]]);
    await node.sweeper.sweep();
    assert.deepEqual(node.removed, ["claim for u1"]);
  });

  it("reports what is pending until the IPAM has recovered from a restore", async () => {
    const node = new Node();
    node.recovery = { active: true, since: "", until: "", waitingFor: [] };
    node.local = [local()];
    node.watched = new Map([["u1", POD]]);
    node.fresh = node.watched;
    await node.sweeper.sweep();
    node.bindings = [port()];
    await node.sweeper.sweep();
    assert.equal(node.sweeper.mayRecover, true);
    node.recovery = { active: false };
    await node.sweepTwice();
    assert.equal(node.sweeper.mayRecover, false);
    assert.deepEqual(
      node.reports,
      [1, 0, 0].map(pending => ({ ...SELF, pending })),
    );
    node.sweeper.expectRecovery();
    await node.sweeper.sweep();
    assert.equal(node.reports.length, 4);
  });

  it("reports a port as pending whose binding it could not read", async () => {
    const node = new Node();
    node.recovery = { active: true, since: "", until: "", waitingFor: [] };
    node.local = [local()];
    node.isAway = true;
    await node.sweeper.sweep();
    assert.deepEqual(node.reports, [{ ...SELF, pending: 1 }]);
  });

  it("claims what moved here since the backup, and fences it if no backup is restored", async () => {
    for (const [active, removed] of [
      [true, ["claim for u1"]],
      [false, ["fence"]],
    ] as const) {
      const node = new Node();
      node.recovery = active ? { active, since: "", until: "", waitingFor: [] } : { active };
      node.local = [local()];
      node.other = port({ epoch: 9 }, { host: "node-b", ownerUid: "u0", sandbox: { id: "s0", interface: "eth0" } });
      node.watched = new Map([["u1", POD]]);
      node.fresh = node.watched;
      await node.sweeper.sweep();
      assert.deepEqual(node.removed, removed);
      assert.equal(node.sweeper.mayRecover, active);
    }
  });

  it("reports nothing before the watch has listed the pods", async () => {
    const node = new Node();
    node.watched = undefined;
    await node.sweeper.sweep();
    assert.deepEqual(node.reports, []);
    assert.equal(node.sweeper.mayRecover, true);
  });
});
