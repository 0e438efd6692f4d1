import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { pino } from "pino";
import { type NodePod, type PodChange, readNodePod } from "../../../../cni/agent/pod/pods.ts";
import { MigrationTargets } from "../../../../cni/agent/upkeep/migration-targets.ts";
import { KubeError } from "../../../../ipam-server/kube/kube-error.ts";
import { podObject, VIRTUAL_MACHINE } from "../pod/pods.ts";

const READY = { "kubevirt.io/migration-target-ready-timestamp": "2026-11-20T08:00:00Z" };
const target = (annotations = {}, phase = "Running"): NodePod =>
  readNodePod(
    podObject({
      uid: "u1",
      owner: VIRTUAL_MACHINE,
      labels: { "kubevirt.io/migrationJobUID": "job-1" },
      annotations,
      status: { phase },
    }),
  );

/** The agent of node-a, as its watch and the API server answer it. */
class Node implements AsyncDisposable {
  /** Node of the instance; an error: it cannot be read. */
  instance: string | Error = "node-b";
  readonly read: string[] = [];
  sweeps = 0;
  readonly targets: MigrationTargets;
  readonly #watch: AsyncDisposable;
  #listener: ((change: PodChange) => void) | undefined;

  constructor() {
    const pods = {
      subscribe: (listener: (change: PodChange) => void) => {
        this.#listener = listener;
        return { [Symbol.dispose]: () => undefined };
      },
    };
    const api = {
      get: async (path: string) => {
        this.read.push(path);
        if (this.instance instanceof Error) throw this.instance;
        return { status: { nodeName: this.instance } };
      },
    };
    const context = { config: { nodeName: "node-a" }, pods, api, log: pino({ level: "silent" }) };
    this.targets = new MigrationTargets(context as never);
    this.#watch = this.targets.watch(() => this.sweeps++);
  }

  put(pod: NodePod, type: PodChange["type"] = "present"): void {
    this.#listener?.({ type, pod });
  }

  get state(): string | undefined {
    return this.targets.states.get("u1");
  }

  async until(condition: () => boolean): Promise<void> {
    for (let left = 500; !condition(); left--) {
      assert.ok(left > 0, "waited in vain");
      await delay(10);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }
}

describe("MigrationTargets", () => {
  it("waits while the instance runs on another node, and asks only for that instance", async () => {
    await using node = new Node();
    node.put(target());
    await node.until(() => node.read.length > 0);
    assert.deepEqual([node.state, node.sweeps], ["waiting", 0]);
    assert.equal(node.read[0], "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances/db1");
  });

  it("is ready when the pod says so, and requests one sweep", async () => {
    await using node = new Node();
    node.put(target());
    node.put(target(READY));
    node.put(target(READY));
    assert.deepEqual([node.state, node.sweeps], ["ready", 1]);
  });

  it("is ready when the instance's status names this node", async () => {
    await using node = new Node();
    node.instance = "node-a";
    node.put(target());
    await node.until(() => node.state === "ready");
    assert.equal(node.sweeps, 1);
  });

  it("relies on the pod while the instance cannot be read", async () => {
    await using node = new Node();
    node.instance = new KubeError(403, "forbidden");
    node.put(target());
    await node.until(() => node.read.length > 0);
    assert.equal(node.state, "waiting");
    node.put(target(READY));
    assert.equal(node.state, "ready");
  });

  it("drops a target that has failed or is gone", async () => {
    await using node = new Node();
    node.put(target());
    node.put(target({}, "Failed"));
    assert.equal(node.state, undefined);
    node.put(target());
    node.put(target(), "gone");
    assert.equal(node.state, undefined);
  });

  it("asks nothing for pods that are no targets", async () => {
    await using node = new Node();
    node.put(readNodePod(podObject({ uid: "u1", owner: VIRTUAL_MACHINE })));
    await delay(0);
    assert.deepEqual([node.state, node.read], [undefined, []]);
  });
});
