import type { Claim, PortAttachment } from "../../../ipam-server/contract/index.ts";

/** The fields of a claim that select the network of an address. */
export type LeaseRequest = Pick<
  Claim,
  "networkSelector" | "families" | "availabilityZone" | "physicalNetworks" | "cluster" | "host"
>;

export function deriveRequest(claim: Claim): LeaseRequest {
  const { networkSelector, families, availabilityZone, physicalNetworks, cluster, host } = claim;
  return {
    networkSelector,
    host,
    ...(families && { families }),
    ...(availabilityZone !== undefined && { availabilityZone }),
    ...(physicalNetworks && { physicalNetworks }),
    ...(cluster !== undefined && { cluster }),
  };
}

/** Returns the same key for requests that select the same networks. */
export function keyOf({ networkSelector, families, availabilityZone, physicalNetworks }: LeaseRequest): string {
  return JSON.stringify([networkSelector, families, availabilityZone, physicalNetworks]);
}

/** Returns the attachment that the IPAM will grant when the lease is claimed for this pod. */
export function deriveAssigned({ port, ...rest }: PortAttachment, claim: Claim & { name: string }): PortAttachment {
  const { owner, host, sandbox, cluster, namespace, labels = {} } = claim;
  const { expiresAt: _ended, ...kept } = port;
  return {
    ...rest,
    port: {
      ...kept,
      name: claim.name,
      owner,
      labels,
      binding: { host, ownerUid: owner.uid, boundAt: port.updatedAt, ...(sandbox && { sandbox }) },
      ...(cluster !== undefined && { cluster }),
      ...(namespace !== undefined && { namespace }),
      underlay: "BUILD",
      state: `BUILD_${port.overlay}`,
    },
  };
}
