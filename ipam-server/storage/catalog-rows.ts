import type { Labels, NodeLease, Segment, SubnetSpec, WorkloadRetention } from "../contract/index.ts";
import {
  Catalog,
  type NetworkDeclaration,
  type NetworkRecord,
  type SubnetDeclaration,
  type SubnetRecord,
} from "../domain/model/catalog.ts";
import { toTimestamp } from "../domain/model/port-record.ts";
import { toSpec } from "../domain/networks/network-manifest.ts";
import { parseSubnet } from "../domain/networks/parse-subnet.ts";
import { parseColumn } from "./port-rows.ts";

const DECLARED = "name, labels, vpc, availability_zone, segment, mtu, node_lease, retention";
/** Columns of `networks` on every engine, in the order of NetworkRow. */
export const NETWORK_COLUMNS = `id, ${DECLARED}, created_at, updated_at`;
/** Columns of `networks` that are inserted: those of DeclaredRow, then the times. */
export const NEW_NETWORK_COLUMNS = `${DECLARED}, created_at, updated_at`;
/** Columns of `subnets` on every engine, in the order of SubnetRow. */
export const SUBNET_COLUMNS = "id, network_id, spec, held, outside, freed";

type DeclaredRow = [
  name: string,
  labels: string,
  vpc: string,
  availabilityZone: string | null,
  segment: string,
  mtu: number,
  nodeLease: string | null,
  retention: string | null,
];
export type NetworkRow = [id: number, ...DeclaredRow, createdAt: number, updatedAt: number];
export type SubnetRow = [id: number, networkId: number, spec: string, held: number, outside: number, freed: number];

export function encodeNetwork(declaration: NetworkDeclaration): DeclaredRow {
  const { name, labels, vpc, availabilityZone, segment, mtu, nodeLease, retention } = declaration;
  const lease = nodeLease ? JSON.stringify(nodeLease) : null;
  const kept = retention ? JSON.stringify(retention) : null;
  return [name, JSON.stringify(labels), vpc, availabilityZone ?? null, JSON.stringify(segment), mtu, lease, kept];
}

type RangesOf = (subnetId: number, declaration: SubnetDeclaration) => SubnetRecord["ranges"];

/** @param rangesOf decodes the subnet's rows of `pools`, which differ by engine */
export function buildCatalog(
  networks: readonly NetworkRow[],
  subnets: readonly SubnetRow[],
  rangesOf: RangesOf,
): Catalog {
  const records = Map.groupBy(
    subnets.map(row => decodeSubnet(row, rangesOf)),
    ({ networkId }) => networkId,
  );
  return new Catalog(networks.map(row => decodeNetwork(row, records.get(row[0]) ?? [])));
}

function decodeNetwork(row: NetworkRow, subnets: SubnetRecord[]): NetworkRecord {
  const [id, name, labels, vpc, availabilityZone, segment, mtu, nodeLease, retention, createdAt, updatedAt] = row;
  return {
    id,
    name,
    labels: parseColumn<Labels>(labels),
    vpc,
    availabilityZone: availabilityZone ?? undefined,
    segment: parseColumn<Segment>(segment),
    mtu,
    nodeLease: nodeLease === null ? undefined : parseColumn<NodeLease>(nodeLease),
    retention: retention === null ? undefined : parseColumn<WorkloadRetention>(retention),
    subnets,
    createdAt: toTimestamp(createdAt),
    updatedAt: toTimestamp(updatedAt),
  };
}

/** A subnet's declaration as the `spec` column keeps it. */
export const encodeSubnet = (subnet: SubnetDeclaration): string => JSON.stringify(toSpec(subnet));

function decodeSubnet([id, networkId, spec, held, outside, freed]: SubnetRow, rangesOf: RangesOf): SubnetRecord {
  const declaration = parseSubnet(parseColumn<SubnetSpec>(spec), `subnets[${id}]`);
  return { ...declaration, ranges: rangesOf(id, declaration), id, networkId, held, outside, freed };
}
