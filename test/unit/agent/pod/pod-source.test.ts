import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Namespaces } from "../../../../cni/agent/pod/namespaces.ts";
import { PodSource } from "../../../../cni/agent/pod/pods.ts";
import { KubeApi } from "../../../../ipam-server/kube/kube-api.ts";
import { waitFor } from "../../../../scripts/lab/command.ts";
import { FakeKubeApi } from "../../../fakes/k8s-api.ts";
import { namespaceObject, podObject } from "./pods.ts";

const PODS = "/api/v1/pods";
const NAMESPACES = "/api/v1/namespaces";

class Fixture implements AsyncDisposable {
  readonly kube: FakeKubeApi;
  readonly pods: PodSource;
  readonly errors: string[] = [];

  private constructor(kube: FakeKubeApi) {
    this.kube = kube;
    const onError = (error: Error) => void this.errors.push(error.message);
    this.pods = new PodSource({ api: new KubeApi(kube.kubeConfig()), nodeName: "node-a", onError });
  }

  static async start(...pods: string[]): Promise<Fixture> {
    const kube = await FakeKubeApi.start([PODS, NAMESPACES]);
    kube.put(NAMESPACES, namespaceObject() as never);
    for (const name of pods) putPod(kube, name);
    const fixture = new Fixture(kube);
    await waitFor("the pods to be listed", async () => fixture.pods.items?.size === pods.length);
    if (pods.length > 0) await waitFor("their namespace", async () => kube.requests.includes(READ));
    return fixture;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pods[Symbol.asyncDispose]();
    await this.kube[Symbol.asyncDispose]();
  }

  /** Requests that are no watches, without what the test has seen before. */
  takeReads(): string[] {
    return this.kube.requests.splice(0).filter(line => !line.includes("watch=true"));
  }

  async remove(name: string): Promise<void> {
    this.kube.remove(PODS, "shop", name);
    await waitFor("the watch to report it", async () => !this.pods.items?.has(`uid-${name}`));
  }
}

function putPod(kube: FakeKubeApi, name: string): void {
  kube.put(PODS, podObject({ name, uid: `uid-${name}` }) as never);
}

describe("PodSource", () => {
  it("lists its node's pods from the watch cache, and watches nothing else", async () => {
    await using fixture = await Fixture.start("a");
    assert.match(fixture.kube.requests[0] ?? "", /^GET \/api\/v1\/pods\?fieldSelector=[^&]*node-a&resourceVersion=0$/);
    const watches = () => fixture.kube.requests.filter(line => line.includes("watch=true"));
    await waitFor("the watch", async () => watches().length > 0);
    for (const line of watches()) assert.match(line, /^GET \/api\/v1\/pods\?fieldSelector=/);
  });

  it("lists from etcd if the cache cannot answer", async () => {
    await using kube = await FakeKubeApi.start([PODS, NAMESPACES]);
    putPod(kube, "a");
    kube.faults.set(/resourceVersion=0$/, 504);
    await using pods = new PodSource({ api: new KubeApi(kube.kubeConfig()), nodeName: "node-a" });
    await waitFor("the pods to be listed", async () => pods.items?.size === 1);
  });

  it("reads suspects alone, by name, past the cache", async () => {
    await using fixture = await Fixture.start("a", "b", "c");
    await fixture.remove("b");
    fixture.takeReads();
    const found = await fixture.pods.fetch(new Set(["uid-a", "uid-b"]));
    assert.deepEqual([...found.keys()], ["uid-a"]);
    assert.deepEqual(fixture.takeReads().sort(), [
      "GET /api/v1/namespaces/shop/pods/a",
      "GET /api/v1/namespaces/shop/pods/b",
    ]);
    assert.equal((await fixture.pods.fetch(new Set())).size, 0);
    assert.deepEqual(fixture.takeReads(), []);
  });

  it("does not take a new pod for its predecessor of the same name", async () => {
    await using fixture = await Fixture.start("a");
    await fixture.remove("a");
    fixture.kube.put(PODS, podObject({ name: "a", uid: "uid-next" }) as never);
    assert.equal((await fixture.pods.fetch(new Set(["uid-a"]))).size, 0);
  });

  it("lists its node's pods for a suspect that the watch never had", async () => {
    await using fixture = await Fixture.start("a", "b");
    fixture.takeReads();
    const found = await fixture.pods.fetch(new Set(["uid-a", "uid-of-earlier-days"]));
    assert.deepEqual([...found.keys()], ["uid-a"]);
    const [line, ...others] = fixture.takeReads();
    assert.deepEqual(others, []);
    assert.doesNotMatch(line ?? "", /resourceVersion/);
  });

  it("rejects if a suspect cannot be read", async () => {
    await using fixture = await Fixture.start("a");
    fixture.kube.faults.set(/pods\/a$/, 503);
    await assert.rejects(fixture.pods.fetch(new Set(["uid-a"])), { status: 503 });
  });
});

const READ = "GET /api/v1/namespaces/shop";
const annotate = (kube: FakeKubeApi, value: string) =>
  kube.put(NAMESPACES, namespaceObject({ "mooring.dev/retain": value }) as never);

describe("namespaces of PodSource", () => {
  const retainOf = async ({ pods }: Fixture, name = "a") => {
    const pod = pods.items?.get(`uid-${name}`);
    assert.ok(pod);
    return (await pods.namespaceOf(pod)).annotations["mooring.dev/retain"];
  };

  it("are read when a pod appears, and not again by its ADD", async () => {
    await using fixture = await Fixture.start();
    annotate(fixture.kube, "sticky");
    putPod(fixture.kube, "a");
    await waitFor("the read", async () => fixture.kube.requests.includes(READ));
    await waitFor("the pod", async () => fixture.pods.items?.has("uid-a"));
    assert.equal(await retainOf(fixture), "sticky");
    fixture.takeReads();
    assert.equal(await retainOf(fixture), "sticky");
    assert.deepEqual(fixture.takeReads(), []);
  });

  it("are read again for a pod that was created since", async () => {
    await using fixture = await Fixture.start("a");
    await retainOf(fixture);
    annotate(fixture.kube, "sticky");
    putPod(fixture.kube, "b");
    await waitFor("the pod", async () => fixture.pods.items?.has("uid-b"));
    assert.equal(await retainOf(fixture, "b"), "sticky");
  });

  it("are known for pods that appeared before Kubernetes went down", async () => {
    await using fixture = await Fixture.start();
    annotate(fixture.kube, "sticky");
    putPod(fixture.kube, "a");
    await waitFor("the pod", async () => fixture.pods.items?.has("uid-a"));
    await retainOf(fixture);
    fixture.kube.faults.set(/namespaces/, 503);
    assert.equal(await retainOf(fixture), "sticky");
  });
});

describe("Namespaces", () => {
  const start = async () => {
    const kube = await FakeKubeApi.start([NAMESPACES]);
    const namespaces = new Namespaces(new KubeApi(kube.kubeConfig()));
    const retain = async (maxAgeMs: number) =>
      (await namespaces.find("shop", maxAgeMs)).annotations["mooring.dev/retain"];
    return { kube, retain, [Symbol.asyncDispose]: () => kube[Symbol.asyncDispose]() };
  };

  it("reads again when the answer is too old", async () => {
    await using fixture = await start();
    annotate(fixture.kube, "sticky");
    assert.equal(await fixture.retain(0), "sticky");
    annotate(fixture.kube, "24h");
    assert.equal(await fixture.retain(60_000), "sticky");
    assert.equal(await fixture.retain(0), "24h");
  });

  it("shares one request among pods that need it together", async () => {
    await using fixture = await start();
    await Promise.all([fixture.retain(0), fixture.retain(0)]);
    assert.deepEqual(fixture.kube.requests, [READ]);
  });

  it("keeps the last answer while Kubernetes is down, and fails without one", async () => {
    await using fixture = await start();
    fixture.kube.faults.set(/./, 503);
    await assert.rejects(fixture.retain(0), { status: 503 });
    fixture.kube.faults.clear();
    annotate(fixture.kube, "sticky");
    await fixture.retain(0);
    fixture.kube.faults.set(/./, 503);
    assert.equal(await fixture.retain(0), "sticky");
  });

  it("has no annotations of one that is gone", async () => {
    await using fixture = await start();
    annotate(fixture.kube, "sticky");
    assert.equal(await fixture.retain(0), "sticky");
    fixture.kube.remove(NAMESPACES, "", "shop");
    assert.equal(await fixture.retain(0), undefined);
  });
});
