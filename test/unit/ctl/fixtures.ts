import type { MooringEvent, Network, Port } from "../../../ipam-server/contract/index.ts";

const createdAt = "2026-11-20T08:00:00.000Z";

export const network: Network = {
  name: "prod-a",
  labels: { env: "prod" },
  vpc: "default",
  availabilityZone: "az1",
  segment: { type: "vlan", id: 100, physicalNetwork: "physnet1" },
  mtu: 1500,
  subnets: [
    {
      cidr: "10.100.0.0/16",
      ipVersion: 4,
      gateway: "10.100.0.1",
      pools: ["10.100.1.0-10.100.1.99"],
      exclude: [],
      routes: [{ dst: "0.0.0.0/0", gw: "10.100.0.1" }],
      dns: { nameservers: ["10.0.0.53"] },
      usage: { size: "100", held: 25, freed: 2 },
    },
    {
      cidr: "fd00:100::/64",
      ipVersion: 6,
      pools: [],
      exclude: [],
      routes: [],
      dns: {},
      usage: { size: "18446744073709551614", held: 25, freed: 0 },
    },
  ],
  createdAt,
  updatedAt: createdAt,
};

export const boundPort: Port = {
  name: "c1/default/web-0",
  id: "018f-1",
  network: "prod-a",
  mac: "0a:58:0a:64:01:07",
  fixedIps: [
    { address: "10.100.1.7", subnet: "10.100.0.0/16", prefixLength: 16, gateway: "10.100.0.1" },
    { address: "fd00:100::7", subnet: "fd00:100::/64", prefixLength: 64 },
  ],
  labels: { app: "web" },
  retention: { policy: "sticky" },
  owner: { kind: "pod", uid: "8e5c", createdAt },
  binding: { host: "node-a", ownerUid: "8e5c", sandbox: { id: "4c1f9a", interface: "eth0" }, boundAt: createdAt },
  epoch: 3,
  underlay: "ACTIVE",
  overlay: "BUILD",
  state: "ACTIVE_BUILD",
  createdAt,
  updatedAt: createdAt,
};

const { binding: _, ...rest } = boundPort;
export const unboundPort: Port = { ...rest, name: "c1/default/web-1", releasedAt: createdAt };

export function createEvent(seq: number, more: Partial<MooringEvent> = {}): MooringEvent {
  return {
    seq,
    time: createdAt,
    type: "port.bound",
    caller: "node-a",
    port: boundPort.name,
    host: "node-a",
    epoch: 3,
    addresses: ["10.100.1.7"],
    mac: boundPort.mac,
    ...more,
  };
}
