import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AddressCondition } from "../../../../cni/agent/pod/address-condition.ts";
import { type NodePod, readNodePod } from "../../../../cni/agent/pod/pods.ts";
import { KubeApi } from "../../../../ipam-server/kube/kube-api.ts";
import type { KubeEvent } from "../../../../ipam-server/kube/kube-events.ts";
import { FakeKubeApi } from "../../../fakes/k8s-api.ts";
import { type PodShape, podObject } from "./pods.ts";

const PODS = "/api/v1/pods";
const NOW = "2026-11-20T08:00:00.000Z";

class Fixture implements AsyncDisposable {
  readonly kube: FakeKubeApi;
  readonly events: KubeEvent[] = [];
  readonly errors: number[] = [];
  items = new Map<string, NodePod>();

  constructor(kube: FakeKubeApi) {
    this.kube = kube;
  }

  static async start(shape: PodShape = {}): Promise<Fixture> {
    const fixture = new Fixture(await FakeKubeApi.start([PODS]));
    fixture.kube.put(PODS, podObject({ uid: "u1", ...shape }) as never);
    fixture.watch();
    return fixture;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kube[Symbol.asyncDispose]();
  }

  /** Brings the agent's copy up to date. */
  watch(): void {
    this.items = new Map(this.kube.items(PODS).map(each => [each.metadata.uid, readNodePod(each)]));
  }

  /** Runs an agent's changes until they are written. */
  async run(change: (condition: AddressCondition) => void): Promise<void> {
    await using condition = new AddressCondition({
      api: new KubeApi(this.kube.kubeConfig()),
      events: { write: event => void this.events.push(event) },
      pods: this,
      now: () => new Date(NOW),
      onError: ({ status }) => void this.errors.push(status),
    });
    change(condition);
  }

  /** The conditions of the pod as `type status reason`. */
  conditions(): string[] {
    const status = this.kube.items(PODS)[0]?.status as { conditions?: Record<string, string>[] };
    return (status.conditions ?? []).map(({ type, status, reason }) =>
      [type, status, reason].filter(Boolean).join(" "),
    );
  }
}

const READY = { status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] } };
const fail = (condition: AddressCondition) => condition.setFault("u1", "AddressRefused", "it is another port's");

describe("AddressCondition", () => {
  it("marks a pod whose address was refused, with an event, and keeps its status", async () => {
    await using fixture = await Fixture.start(READY);
    await fixture.run(fail);
    assert.deepEqual(fixture.conditions(), ["Ready True", "mooring.dev/Address False AddressRefused"]);
    const status = fixture.kube.items(PODS)[0]?.status as { phase?: string; conditions?: object[] };
    assert.equal(status.phase, "Running");
    assert.deepEqual(status.conditions?.[1], {
      type: "mooring.dev/Address",
      status: "False",
      reason: "AddressRefused",
      message: "it is another port's",
      lastTransitionTime: NOW,
    });
    const subject = { apiVersion: "v1", kind: "Pod", namespace: "shop", name: "web-0", uid: "u1" };
    const message = "it is another port's";
    assert.deepEqual(fixture.events, [{ subject, type: "Warning", reason: "AddressRefused", message }]);
  });

  it("is True again when the pod is connected, also by the next agent", async () => {
    await using fixture = await Fixture.start();
    await fixture.run(condition => {
      fail(condition);
      condition.setConnected("u1");
    });
    assert.deepEqual(fixture.conditions(), ["mooring.dev/Address True AddressConnected"]);
    await fixture.run(fail);
    fixture.watch();
    await fixture.run(condition => condition.setConnected("u1"));
    assert.deepEqual(fixture.conditions(), ["mooring.dev/Address True AddressConnected"]);
  });

  it("writes nothing for a pod that has its address", async () => {
    await using fixture = await Fixture.start();
    await fixture.run(condition => condition.setConnected("u1"));
    assert.deepEqual(fixture.kube.requests, []);
  });

  for (const [what, shape] of [
    ["is being deleted", { metadata: { deletionTimestamp: NOW } }],
    ["has finished", { status: { phase: "Succeeded" } }],
    ["is not of this node", { uid: "another" }],
  ] as const) {
    it(`leaves a pod alone that ${what}`, async () => {
      await using fixture = await Fixture.start(shape);
      await fixture.run(fail);
      assert.deepEqual([fixture.events, fixture.kube.requests], [[], []]);
    });
  }

  it("does not mark the next pod of the same name", async () => {
    await using fixture = await Fixture.start();
    fixture.kube.put(PODS, podObject({ uid: "u2" }) as never);
    await fixture.run(fail);
    assert.deepEqual([fixture.conditions(), fixture.errors], [[], []]);
  });

  it("reports a write that fails, and continues", async () => {
    await using fixture = await Fixture.start();
    fixture.kube.faults.set(/status$/, 403);
    await fixture.run(fail);
    assert.deepEqual([fixture.errors, fixture.events.length], [[403], 1]);
    fixture.kube.faults.clear();
    await fixture.run(fail);
    assert.deepEqual(fixture.conditions(), ["mooring.dev/Address False AddressRefused"]);
  });
});
