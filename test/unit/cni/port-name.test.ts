import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { derivePortName } from "../../../cni/agent/pod/port-name.ts";
import { derivePort, formatInterface } from "../../../cni/verbs/port-name.ts";
import * as fields from "../../../ipam-server/http/v1/schema/fields.ts";

const RETENTION = { policy: "ephemeral" } as const;
/** Names that the kernel allows (dev_valid_name). */
const INTERFACES = ["eth0", "net1", "eth0.100", "net+1", "net-1", "größe0", "a#b~c!d$e", "€€€€€", "..."];

function nameInBothHomes(podName: string, ifname: string): [string, string | undefined] {
  const pod = { namespace: "default", name: podName, uid: "u1" };
  const direct = derivePort({ cluster: "c1", containerId: "s1", ifname, pod }, RETENTION, new Date(0));
  const agentPod = { ...pod, labels: {} } as never;
  const place = { cluster: "c1", interface: ifname };
  const agent = derivePortName(agentPod, { kind: "pod" }, {} as never, place, RETENTION);
  return [direct.name, agent.name];
}

describe("a pod's port name", () => {
  for (const ifname of INTERFACES) {
    it(`is the same with and without an agent, and valid: ${ifname}`, () => {
      for (const podName of ["web-0", "w".repeat(253)]) {
        const [direct, agent] = nameInBothHomes(podName, ifname);
        assert.equal(direct, agent);
        assert.ok(fields.portName.safeParse(direct).success, direct);
        assert.ok(fields.portInterfaceName.safeParse(formatInterface(ifname)).success, formatInterface(ifname));
        assert.ok(fields.interfaceName.safeParse(ifname).success);
      }
    });
  }

  it("keeps the names of ordinary pods and interfaces", () => {
    assert.deepEqual(nameInBothHomes("web-0", "eth0"), ["c1/default/web-0", "c1/default/web-0"]);
    assert.deepEqual(nameInBothHomes("web-0", "eth0.100"), ["c1/default/web-0/eth0.100", "c1/default/web-0/eth0.100"]);
  });

  it("differs for pods and interfaces that differ in one character", () => {
    const long = "w".repeat(252);
    const names = [
      ...["net+1", "net#1", "net_1", "größe0", "größe1"].map(ifname => nameInBothHomes("web-0", ifname)[0]),
      ...[`${long}a`, `${long}b`].map(pod => nameInBothHomes(pod, "eth0")[0]),
    ];
    assert.equal(new Set(names).size, names.length);
  });

  it("is short enough for a container without a pod, too", () => {
    const { name } = derivePort(
      { cluster: "c1", containerId: "s".repeat(400), ifname: "eth0" },
      RETENTION,
      new Date(0),
    );
    assert.ok(fields.portName.safeParse(name).success, name);
  });
});
