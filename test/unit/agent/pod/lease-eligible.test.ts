import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deriveClaim } from "../../../../cni/agent/pod/derive-claim.ts";
import { canUseLease } from "../../../../cni/agent/pod/lease-eligible.ts";
import { readNamespace, readPod } from "../../../../cni/agent/pod/pod.ts";
import { namespaceObject, type PodShape, podObject, REPLICA_SET, STATEFUL_SET } from "./pods.ts";

const generated = (name: string, generateName: string): PodShape => ({ name, metadata: { generateName } });
const REPLICA = { ...generated("web-7d9c5b-x4kzq", "web-7d9c5b-"), owner: REPLICA_SET };
const with_ = (annotations: Record<string, string>): PodShape => ({ ...REPLICA, annotations });
/** A generateName that the API server truncates. */
const LONG = "a".repeat(70);

const CASES: [behaviour: string, pod: PodShape, may: boolean, ifname?: string][] = [
  ["accepts a Deployment's pod", REPLICA, true],
  ["accepts any controller's pod with a generated name", generated("job-x4kzq", "job-"), true],
  ["accepts a pod whose generated name was truncated", generated(`${"a".repeat(58)}x4kzq`, LONG), true],
  ["rejects a pod with a chosen name", { name: "web-x4kzq" }, false],
  ["rejects a chosen name with a generateName", generated("web", "web-"), false],
  ["rejects a name that does not start with its generateName", generated("db-x4kzq", "web-"), false],
  ["rejects a name with more than five random characters", generated("web-x4kzqq", "web-"), false],
  ["rejects characters that the API server does not generate", generated("web-a0123", "web-"), false],
  ["rejects a StatefulSet's pod", { ...generated("web-0", "web-"), owner: STATEFUL_SET }, false],
  ["rejects a StatefulSet's pod with five digits", { ...generated("web-22222", "web-"), owner: STATEFUL_SET }, false],
  [
    "rejects a StatefulSet's pod of another API group",
    { ...generated("web-22222", "web-"), owner: { ...STATEFUL_SET, apiVersion: "apps.kruise.io/v1beta1" } },
    false,
  ],
  ["rejects a sticky pod", with_({ "mooring.dev/retain": "sticky" }), false],
  ["rejects a pod with a retention time", with_({ "mooring.dev/retain": "24h" }), false],
  ["rejects a pod with a requested address", with_({ "mooring.dev/ip": "10.100.1.9" }), false],
  ["rejects a pod with a requested MAC", with_({ "mooring.dev/mac": "0a:58:0a:00:00:01" }), false],
  ["rejects a pod with a reserved port name", with_({ "mooring.dev/port-name": "db" }), false],
  [
    "rejects a port named after labels",
    { ...with_({ "mooring.dev/port-name-from": "app", "mooring.dev/retain": "ephemeral" }), labels: { app: "web" } },
    false,
  ],
  ["accepts a pod with its own families", with_({ "mooring.dev/families": "ipv4" }), true],
  ["rejects a second interface", REPLICA, false, "net1"],
];
describe("canUseLease", () => {
  for (const [behaviour, shape, may, ifname = "eth0"] of CASES) {
    it(behaviour, () => {
      const pod = readPod(podObject(shape));
      const place = { host: "node-a", interface: ifname, sandbox: { id: "s1", interface: ifname } };
      const defaults = { cluster: "c1", networkSelector: "env=prod" };
      const claim = deriveClaim(pod, readNamespace(namespaceObject()), defaults, place);
      assert.equal(canUseLease(claim, pod), may);
      const { sandbox: _sandbox, ...preclaim } = claim;
      if (ifname === "eth0") assert.equal(canUseLease(preclaim, pod), may, "as a pre-claim");
    });
  }
});
