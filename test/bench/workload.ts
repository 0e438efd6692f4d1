import type { Claim, NetworkManifest, Release } from "../../ipam-server/contract/index.ts";

/** Pods of one host: what a node of a large cluster carries. */
const PORTS_PER_HOST = 100;

/** Sixteen million addresses in four networks of production, beside networks that the selector must leave out. */
export function benchNetworks(): NetworkManifest[] {
  const prod = ["10.0.0.0/10", "10.64.0.0/10", "10.128.0.0/10", "10.192.0.0/10"];
  const other = ["172.16.0.0/14", "172.20.0.0/14", "172.24.0.0/14", "172.28.0.0/14"];
  return [
    ...prod.map((cidr, index) => network(`prod-${index}`, { env: "prod", tier: "web" }, 100 + index, cidr)),
    ...other.map((cidr, index) => network(`dev-${index}`, { env: "dev", tier: "web" }, 200 + index, cidr)),
  ];
}

function network(name: string, labels: Record<string, string>, id: number, cidr: string): NetworkManifest {
  const gateway = cidr.replace(/\d+\/\d+$/, "1");
  return {
    apiVersion: "mooring.dev/v1",
    kind: "Network",
    metadata: { name, labels },
    spec: {
      availabilityZone: "az1",
      segment: { type: "vlan", id, physicalNetwork: "physnet1" },
      mtu: 1500,
      subnets: [{ cidr, gateway }],
    },
  };
}

/** The claim of the index-th pod of a series: a name, an owner and a sandbox of its own, as the CNI executable sends it. */
export function benchClaim(series: string, index: number): Claim {
  const namespace = `team-${index % 50}`;
  return {
    name: portName(series, index),
    nameFrom: "pod",
    cluster: "c1",
    namespace,
    host: hostName(series, index),
    availabilityZone: "az1",
    physicalNetworks: ["physnet1"],
    sandbox: { id: sandboxId(series, index), interface: "eth0" },
    owner: { kind: "pod", uid: `${series}-${index}-8e5c4f52-93b0`, createdAt: "2026-11-20T08:00:00.000Z" },
    networkSelector: "env=prod",
    families: ["ipv4"],
    retention: { policy: "ephemeral" },
    labels: { app: `app-${index % 200}`, tier: "web" },
  };
}

/** The release that ends the claim of the same series and index. */
export function benchRelease(series: string, index: number): Release {
  return {
    name: portName(series, index),
    host: hostName(series, index),
    sandbox: { id: sandboxId(series, index), interface: "eth0" },
  };
}

const portName = (series: string, index: number): string => `c1/team-${index % 50}/${series}-${index}`;
const hostName = (series: string, index: number): string => `${series}-node-${Math.floor(index / PORTS_PER_HOST)}`;
const sandboxId = (series: string, index: number): string =>
  Buffer.from(`${series}-${index}`).toString("hex").padStart(64, "0");
