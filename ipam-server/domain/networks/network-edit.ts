import { IpamError, type NetworkManifest, type SubnetSpec } from "../../contract/index.ts";
import type { NetworkRecord } from "../model/catalog.ts";
import { toManifest, toSpec } from "./network-manifest.ts";

/**
 * A declaration, or a function that derives it from the present networks. The store reads, derives and writes in one
 * transaction, so that no other caller or replica changes the networks in between.
 */
export type NetworkEdit = NetworkManifest | ((present: readonly NetworkRecord[]) => NetworkManifest);

/** The manifest that results from the edit. Throws the IpamError of an edit that does not fit the present networks. */
export const applyEdit = (edit: NetworkEdit, present: readonly NetworkRecord[]): NetworkManifest =>
  typeof edit === "function" ? edit(present) : edit;

/** An edit that throws `conflict` when a network of that name exists. */
export function onlyNew(manifest: NetworkManifest): NetworkEdit {
  const { name } = manifest.metadata;
  return present => {
    if (!present.some(network => network.name === name)) return manifest;
    throw new IpamError("conflict", `network ${name} exists; change it with PUT /v1/networks/${name}`);
  };
}

/** An edit that adds one subnet to the network as declared. Throws `not_found`, or `conflict` if it has that subnet. */
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
