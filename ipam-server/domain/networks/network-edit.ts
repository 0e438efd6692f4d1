import { IpamError, type NetworkManifest, type SubnetSpec } from "../../contract/index.ts";
import type { NetworkRecord } from "../model/catalog.ts";
import { toSpec } from "../transfer/transfer.ts";

/**
 * A declaration, or how it follows from the networks that there are. The store reads, thinks and writes in one
 * transaction, so that neither another caller nor another replica changes them in between.
 */
export type NetworkEdit = NetworkManifest | ((present: readonly NetworkRecord[]) => NetworkManifest);

export const resolveWish = (wish: NetworkEdit, present: readonly NetworkRecord[]): NetworkManifest =>
  typeof wish === "function" ? wish(present) : wish;

/** Throws `conflict` when there is a network of that name. */
export function onlyNew(manifest: NetworkManifest): NetworkEdit {
  const { name } = manifest.metadata;
  return present => {
    if (!present.some(network => network.name === name)) return manifest;
    throw new IpamError("conflict", `network ${name} exists; change it with PUT /v1/networks/${name}`);
  };
}

/** The network as it was declared, what was left to the defaults included, and one subnet more. */
export function withSubnet(name: string, added: SubnetSpec): NetworkEdit {
  return present => {
    const network = present.find(candidate => candidate.name === name);
    if (!network) throw new IpamError("not_found", `there is no network ${name}`);
    const { subnets } = network;
    if (subnets.some(({ cidr }) => cidr.text === added.cidr)) {
      throw new IpamError("conflict", `network ${name} has subnet ${added.cidr}; change it with PUT`);
    }
    return toManifest(network, [...subnets.map(toSpec), added]);
  };
}

type Head = Pick<NetworkRecord, "name" | "labels" | "vpc" | "segment" | "mtu"> &
  Partial<Pick<NetworkRecord, "availabilityZone" | "nodeLease">>;

/** What would declare the network, with what was left to the defaults written out. */
export function toManifest(
  { name, labels, vpc, availabilityZone, segment, mtu, nodeLease }: Head,
  subnets: SubnetSpec[],
): NetworkManifest {
  return {
    apiVersion: "mooring.dev/v1",
    kind: "Network",
    metadata: { name, labels },
    spec: {
      vpc,
      ...(availabilityZone !== undefined && { availabilityZone }),
      segment,
      mtu,
      ...(nodeLease && { nodeLease }),
      subnets,
    },
  };
}
