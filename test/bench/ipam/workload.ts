import type { Claim, NetworkManifest, Release } from "../../../ipam-server/contract/index.ts";

/** A million pods on them are a hundred each: what the nodes of a large cluster carry. */
const HOSTS = 10_000;
const NAMESPACES = 50;
const APPLICATIONS = 200;
/** Each has one of the production networks to itself. */
export const ZONES = 4;

/** Sixteen million addresses in four networks of production, and networks that the selector must leave out. */
export function benchNetworks(exclusions = 0): NetworkManifest[] {
  const prod = ["10.0.0.0/10", "10.64.0.0/10", "10.128.0.0/10", "10.192.0.0/10"];
  const other = ["172.16.0.0/14", "172.20.0.0/14", "172.24.0.0/14", "172.28.0.0/14"];
  return [
    ...prod.map((cidr, index) =>
      network(`prod-${index}`, { env: "prod", tier: "web", zone: `z${index}` }, 100 + index, cidr, exclusions),
    ),
    ...other.map((cidr, index) => network(`dev-${index}`, { env: "dev", tier: "web" }, 200 + index, cidr, 0)),
  ];
}

/** @param exclusions of so many addresses every other one is excluded, from the second on */
function network(
  name: string,
  labels: Record<string, string>,
  id: number,
  cidr: string,
  exclusions: number,
): NetworkManifest {
  const [a, b] = cidr.split(".");
  const exclude = Array.from({ length: exclusions }, (_, index) => `${a}.${b}.${index >> 7}.${(index & 127) * 2 + 1}`);
  const gateway = cidr.replace(/\d+\/\d+$/, "1");
  return {
    apiVersion: "mooring.dev/v1",
    kind: "Network",
    metadata: { name, labels },
    spec: {
      availabilityZone: "az1",
      segment: { type: "vlan", id, physicalNetwork: "physnet1" },
      mtu: 1500,
      subnets: [{ cidr, gateway, exclude }],
    },
  };
}

/**
 * The claim of the index-th pod of a series: a name, an owner and a sandbox of its own, as the CNI executable sends it.
 * Like real ones they come in no order: names, hosts and sandbox ids of neighbours are far apart, so that a database
 * with many ports has to touch pages all over. With a zone it is for that zone's network, else for any of the four.
 */
export function benchClaim(series: string, index: number, zone?: number): Claim {
  const { name, namespace, application, host, sandboxId, uid } = podOf(series, index);
  return {
    name,
    nameFrom: "pod",
    cluster: "c1",
    namespace,
    host,
    availabilityZone: "az1",
    physicalNetworks: ["physnet1"],
    sandbox: { id: sandboxId, interface: "eth0" },
    owner: { kind: "pod", uid, createdAt: "2026-11-20T08:00:00.000Z" },
    networkSelector: zone === undefined ? "env=prod" : `env=prod,zone=z${zone}`,
    families: ["ipv4"],
    retention: { policy: "ephemeral" },
    labels: { app: application, tier: "web" },
  };
}

/** The release that ends the claim of the same series and index. */
export function benchRelease(series: string, index: number): Release {
  const { name, host, sandboxId } = podOf(series, index);
  return { name, host, sandbox: { id: sandboxId, interface: "eth0" } };
}

function podOf(series: string, index: number) {
  const scattered = scatter(index);
  const digits = scattered.toString(16).padStart(8, "0");
  const namespace = `team-${scattered % NAMESPACES}`;
  const application = `app-${scattered % APPLICATIONS}`;
  return {
    name: `c1/${namespace}/${application}-${digits}-${series}`,
    namespace,
    application,
    host: `node-${scattered % HOSTS}`,
    sandboxId: `${digits}${scatter(scattered).toString(16).padStart(8, "0")}${Buffer.from(series).toString("hex")}`
      .padEnd(64, "0")
      .slice(0, 64),
    uid: `${digits}-93b0-4c1f-8e5c-${series}`,
  };
}

/** A bijection of 32-bit numbers that leaves no order (MurmurHash3's finalizer). */
function scatter(index: number): number {
  let hash = index | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
