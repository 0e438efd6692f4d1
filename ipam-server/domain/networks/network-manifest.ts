import type { NetworkManifest, SubnetSpec } from "../../contract/index.ts";
import type { NetworkRecord, SubnetDeclaration } from "../model/catalog.ts";

type NetworkFields = Pick<NetworkRecord, "name" | "labels" | "vpc" | "segment" | "mtu"> &
  Partial<Pick<NetworkRecord, "availabilityZone" | "nodeLease" | "retention">>;

/** The manifest that declares this network, with the defaults written out. */
export function toManifest(
  { name, labels, vpc, availabilityZone, segment, mtu, nodeLease, retention }: NetworkFields,
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
      ...(retention && { retention }),
      subnets,
    },
  };
}

/** The subnet as it was declared. Keys stand in one order, so that equal subnets have equal JSON. */
export function toSpec({ cidr, gateway, pools, exclude, routes, dns }: SubnetDeclaration): SubnetSpec {
  const { nameservers, domain, search, options } = dns;
  return {
    cidr: cidr.text,
    ...(gateway !== undefined && { gateway }),
    ...(pools && { pools }),
    exclude,
    ...(routes && { routes: routes.map(({ dst, gw }) => ({ dst, ...(gw !== undefined && { gw }) })) }),
    dns: {
      ...(nameservers && { nameservers }),
      ...(domain !== undefined && { domain }),
      ...(search && { search }),
      ...(options && { options }),
    },
  };
}
