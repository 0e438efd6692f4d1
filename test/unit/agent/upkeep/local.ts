import type { NodeIdentity } from "../../../../cni/agent/upkeep/binding-relation.ts";
import type { LocalPort, OvsSide } from "../../../../cni/agent/upkeep/local-port.ts";
import type { Binding, MooringEvent, Port } from "../../../../ipam-server/contract/index.ts";

export const SELF: NodeIdentity = { host: "node-a", cluster: "c1" };

/** Pod web-0's port, plugged on node-a: port id P1, epoch 3, sandbox s1, pod u1. */
export function local(changes: Partial<LocalPort> = {}, ovs: Partial<OvsSide> = {}): LocalPort {
  const side = {
    ofport: 5,
    vlan: 100,
    recordedVlan: 100,
    physicalNetwork: "physnet1",
    addresses: ["10.100.1.1"],
    portName: "c1/default/web-0",
    portId: "P1",
    epoch: 3,
    ownerUid: "u1",
  };
  return {
    sandboxId: "s1",
    containerInterface: "eth0",
    hasLink: true,
    isFenced: false,
    sandbox: "there",
    ovs: { ...side, ...ovs },
    ...changes,
  };
}

/** The same port in the IPAM. */
export function port(changes: Partial<Port> = {}, binding: Partial<Binding> | undefined = {}): Port {
  const bound = {
    host: "node-a",
    ownerUid: "u1",
    sandbox: { id: "s1", interface: "eth0" },
    boundAt: "2026-11-20T08:00:00.000Z",
    ...binding,
  };
  return {
    name: "c1/default/web-0",
    id: "P1",
    network: "prod-a",
    mac: "0a:58:0a:64:01:01",
    fixedIps: [{ address: "10.100.1.1", subnet: "10.100.0.0/16", prefixLength: 16 }],
    labels: {},
    retention: { policy: "sticky" },
    owner: { kind: "pod", uid: bound.ownerUid, createdAt: "2026-11-20T08:00:00.000Z" },
    binding: bound,
    cluster: "c1",
    epoch: 3,
    underlay: "ACTIVE",
    overlay: "ACTIVE",
    state: "ACTIVE_ACTIVE",
    createdAt: "2026-11-20T08:00:00.000Z",
    updatedAt: "2026-11-20T08:00:00.000Z",
    ...changes,
  };
}

export function unbound(changes: Partial<Port> = {}): Port {
  const { binding: _binding, ...rest } = port(changes);
  return rest;
}

/** The same port, bound before its sandbox exists. */
export function preclaimed(changes: Partial<Port> = {}, binding: Partial<Binding> = {}): Port {
  const { sandbox: _sandbox, ...rest } = {
    host: "node-a",
    ownerUid: "u1",
    boundAt: "2026-11-20T08:00:00.000Z",
    ...binding,
  };
  return { ...port(changes), binding: rest };
}

export function event(changes: Partial<MooringEvent>): MooringEvent {
  return {
    seq: 1,
    time: "2026-11-20T08:00:00.000Z",
    type: "port.moved",
    caller: "another-client",
    port: "c1/default/web-0",
    portId: "P1",
    cluster: "c1",
    ...changes,
  };
}
