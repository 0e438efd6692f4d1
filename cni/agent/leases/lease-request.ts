import type { Claim, PortAttachment } from "../../../ipam-server/contract/index.ts";

/** What decides from which network a claim without wanted addresses is answered. */
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

/** The same for wishes that get the same. */
export function keyOf({ networkSelector, families, availabilityZone, physicalNetworks }: LeaseRequest): string {
  return JSON.stringify([networkSelector, families, availabilityZone, physicalNetworks]);
}

/** A leased address as the pod's that it is given to: what the IPAM will answer when it hears of it. */
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
