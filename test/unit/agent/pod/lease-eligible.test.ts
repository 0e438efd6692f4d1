import assert from "node:assert/strict";
import { it } from "node:test";
import { deriveClaim } from "../../../../cni/agent/pod/derive-claim.ts";
import { canUseLease } from "../../../../cni/agent/pod/lease-eligible.ts";
import { readNamespace, readPod } from "../../../../cni/agent/pod/pod.ts";
import { namespaceObject, type PodShape, podObject, REPLICA_SET, STATEFUL_SET } from "./pods.ts";

const generated = (name: string, generateName: string): PodShape => ({ name, metadata: { generateName } });
const REPLICA = { ...generated("web-7d9c5b-x4kzq", "web-7d9c5b-"), owner: REPLICA_SET };
const with_ = (annotations: Record<string, string>): PodShape => ({ ...REPLICA, annotations });
/** The API server cuts what it makes long names of. */
const LONG = "a".repeat(70);

const CASES: [promise: string, pod: PodShape, may: boolean, ifname?: string][] = [
  ["a Deployment's pod may", REPLICA, true],
  ["a Job's, a DaemonSet's or anybody's pod of a generated name may", generated("job-x4kzq", "job-"), true],
  ["a pod whose generated name was cut may", generated(`${"a".repeat(58)}x4kzq`, LONG), true],
  ["a pod named by hand may not", { name: "web-x4kzq" }, false],
  ["a pod named by hand that says it was generated may not", generated("web", "web-"), false],
  ["a name that does not begin as it was generated may not", generated("db-x4kzq", "web-"), false],
  ["a name with more than five made up may not", generated("web-x4kzqq", "web-"), false],
  ["characters that the API server does not make up may not", generated("web-a0123", "web-"), false],
  ["a StatefulSet's pod may not", { ...generated("web-0", "web-"), owner: STATEFUL_SET }, false],
  ["a StatefulSet's pod with five digits may not", { ...generated("web-22222", "web-"), owner: STATEFUL_SET }, false],
  [
    "another group's StatefulSet's pod may not",
    { ...generated("web-22222", "web-"), owner: { ...STATEFUL_SET, apiVersion: "apps.kruise.io/v1beta1" } },
    false,
  ],
  ["a sticky pod may not", with_({ "mooring.dev/retain": "sticky" }), false],
  ["a pod that is kept for a time may not", with_({ "mooring.dev/retain": "24h" }), false],
  ["a pod with a wanted address may not", with_({ "mooring.dev/ip": "10.100.1.9" }), false],
  ["a pod with a wanted MAC may not", with_({ "mooring.dev/mac": "0a:58:0a:00:00:01" }), false],
  ["a pod with a chosen port name may not", with_({ "mooring.dev/port-name": "db" }), false],
  [
    "a pod named after its labels may not",
    { ...with_({ "mooring.dev/port-name-from": "app", "mooring.dev/retain": "ephemeral" }), labels: { app: "web" } },
    false,
  ],
  ["a pod with a selector and families of its own may", with_({ "mooring.dev/families": "ipv4" }), true],
  ["an interface beside the first may not", REPLICA, false, "net1"],
];
for (const [promise, shape, may, ifname = "eth0"] of CASES) {
  it(promise, () => {
    const pod = readPod(podObject(shape));
    const place = { host: "node-a", interface: ifname, sandbox: { id: "s1", interface: ifname } };
    const defaults = { cluster: "c1", networkSelector: "env=prod" };
    const claim = deriveClaim(pod, readNamespace(namespaceObject()), defaults, place);
    assert.equal(canUseLease(claim, pod), may);
    const { sandbox: _ahead, ...ahead } = claim;
    if (ifname === "eth0") assert.equal(canUseLease(ahead, pod), may, "ahead of its sandbox");
  });
}
