import { IpamError, type SubnetSpec } from "../../contract/index.ts";
import { contains, lengthOf, parseAddress, parseCidr, rangeOf } from "../model/address.ts";
import {
  type Catalog,
  type NetworkDeclaration,
  type NetworkRecord,
  poolAt,
  type SubnetDeclaration,
  type SubnetRecord,
} from "../model/catalog.ts";
import type { BindingRecord, HeldIp, PortRecord } from "../model/port-record.ts";
import type { FreedState } from "../model/snapshot.ts";
import { type CoolingAddress, segmentKey } from "../networks/cooling.ts";
import { toManifest } from "../networks/network-manifest.ts";
import { parseSubnet } from "../networks/parse-subnet.ts";
import { validateNetwork } from "../networks/validate-network.ts";
import {
  rangeText,
  type TransferCluster,
  type TransferCooling,
  type TransferFreed,
  type TransferNetwork,
  type TransferPort,
  type TransferRow,
  type TransferSubnet,
} from "./transfer.ts";

/** Rows are untrusted input: every fault throws `invalid_request` that names the field. */
function fail(field: string, text: string): never {
  throw new IpamError("invalid_request", `${field}: ${text}`, { field });
}

const KINDS = ["network", "port", "freed", "cooling", "cluster", "state"] as const satisfies TransferRow["kind"][];

/** Checks the order of rows, because equal content must be an equal stream. */
export class TransferOrder {
  #rank = 0;
  #lastKey = 0;
  readonly #clusters = new Map<string, string>();
  #done = false;

  check(row: TransferRow): void {
    const rank = KINDS.indexOf(row.kind);
    if (this.#done) fail("kind", `a ${row.kind} row after the state row, which must be the last`);
    if (rank < this.#rank) fail("kind", `a ${row.kind} row after a ${KINDS[this.#rank]} row`);
    this.#rank = rank;
    this.#done = row.kind === "state";
    if (row.kind === "cluster") this.#checkCluster(row);
    if (row.kind !== "port") return;
    if (row.key <= this.#lastKey) fail("key", `${row.key} is not greater than the key of the previous port`);
    this.#lastKey = row.key;
  }

  #checkCluster({ name, uid }: TransferCluster): void {
    const last = [...this.#clusters.values()].at(-1) ?? "";
    if (name <= last) fail("name", `cluster ${name} does not follow cluster ${last} in order`);
    const other = this.#clusters.get(uid);
    if (other !== undefined) fail("uid", `${uid} is that of cluster ${other} too`);
    this.#clusters.set(uid, name);
  }

  end(): void {
    if (!this.#done) fail("kind", "the state row is missing");
  }
}

export interface ImportedNetwork {
  declaration: NetworkDeclaration;
  createdAt: number;
  updatedAt: number;
  /** One for each subnet of the declaration, in its order, with one cursor for each of its ranges. */
  subnets: { held: number; outside: number; freed: number; cursors: bigint[] }[];
}

/** `before`: the networks of earlier rows. */
export function fromTransferNetwork(row: TransferNetwork, before: readonly NetworkDeclaration[]): ImportedNetwork {
  const { name, subnets } = row;
  const specs = subnets.map(({ spec }) => spec);
  if (before.some(other => other.name === name)) fail("name", `network ${name} appears twice`);
  const declaration = validateNetwork(toManifest(row, specs), before);
  const imported = subnets.map(({ spec, held, outside, freed, pools }, index) => {
    const declared = declaration.subnets[index];
    const field = `subnets[${index}].pools`;
    if (!declared) return fail(field, "the subnet is not declared");
    const ranges = findExportedRanges(declared, spec, pools);
    if (ranges.length !== pools.length) fail(field, `${pools.length} pools, but the subnet has another number`);
    const cursors = ranges.map((range, at) => {
      const { range: text, passed } = pools[at] ?? { range: "", passed: "" };
      const expected = rangeText(declared, range);
      if (text !== expected) fail(`${field}[${at}].range`, `"${text}" is not the subnet's ${expected}`);
      const steps = BigInt(passed);
      if (steps > lengthOf(range)) fail(`${field}[${at}].passed`, `${passed} is more than the range has`);
      return range.first + steps;
    });
    return { subnet: { ...declared, ranges }, counters: { held, outside, freed, cursors } };
  });
  return {
    declaration: { ...declaration, subnets: imported.map(({ subnet }) => subnet) },
    createdAt: Date.parse(row.createdAt),
    updatedAt: Date.parse(row.updatedAt),
    subnets: imported.map(({ counters }) => counters),
  };
}

/** The subnet's ranges; or those of an earlier version's export, which has the addresses of routers and nameservers too. */
function findExportedRanges(
  declared: SubnetDeclaration,
  { routes: _, dns: __, ...spec }: SubnetSpec,
  pools: TransferSubnet["pools"],
): SubnetDeclaration["ranges"] {
  const earlier = parseSubnet(spec, "spec").ranges;
  const isEarlier =
    earlier.length === pools.length && earlier.every((range, at) => rangeText(declared, range) === pools[at]?.range);
  return isEarlier ? earlier : declared.ranges;
}

/** Resolves the networks and addresses of rows. The catalog has all networks of the stream. */
export class TransferPlaces {
  readonly #networks: Map<string, NetworkRecord>;

  constructor(catalog: Catalog) {
    this.#networks = new Map(catalog.networks.map(network => [network.name, network]));
  }

  toPort(row: TransferPort): PortRecord {
    const network = this.#network(row.network);
    const { owner, binding, inactive } = row;
    return {
      key: row.key,
      id: row.id,
      name: row.name,
      networkId: network.id,
      mac: row.mac,
      fixedIps: row.addresses.map((address, index) => locateIn(network, address, `addresses[${index}]`).ip),
      labels: row.labels,
      retention: row.retention,
      owner: owner && { kind: owner.kind, uid: owner.uid, createdAt: Date.parse(owner.createdAt) },
      binding: binding && toBinding(binding),
      inactive: inactive && {
        ...toBinding(inactive),
        owner: { kind: inactive.owner.kind, uid: inactive.owner.uid, createdAt: Date.parse(inactive.owner.createdAt) },
        epoch: inactive.epoch,
        migration: inactive.migration,
      },
      reservation: row.reservation,
      cluster: row.cluster,
      namespace: row.namespace,
      workload: row.workload,
      nameFrom: row.nameFrom,
      slot: row.slot,
      epoch: row.epoch,
      lastEpoch: row.lastEpoch ?? row.epoch,
      underlay: row.underlay,
      overlay: row.overlay,
      previousBindingReleased: row.previousBindingReleased,
      createdAt: Date.parse(row.createdAt),
      updatedAt: Date.parse(row.updatedAt),
      releasedAt: parseTime(row.releasedAt),
      expiresAt: parseTime(row.expiresAt),
      unneeded: row.unneeded,
      isProtected: row.protected === true,
    };
  }

  toFreed(row: TransferFreed): HeldIp & FreedState & { pooled: boolean } {
    const { network, address, pooled, freedAt, lastPort, released = false, conflict } = row;
    const { ip, subnet } = locateIn(this.#network(network), address, "address");
    if (conflict && pooled) fail("pooled", `true, but ${address} has a conflict, so it is in no queue`);
    if (!conflict && pooled !== (poolAt(subnet, ip.offset) !== undefined)) {
      fail("pooled", `${pooled}, but ${address} is ${pooled ? "in no pool" : "in a pool"} of ${subnet.cidr.text}`);
    }
    return { ...ip, pooled, freedAt: Date.parse(freedAt), lastPort, released, conflict };
  }

  toCooling({ segment, subnet, address, freedAt, lastPort }: TransferCooling): CoolingAddress {
    const cidr = parseCidr(subnet);
    if (!cidr || "meant" in cidr || cidr.text !== subnet)
      return fail("subnet", `"${subnet}" is not a CIDR as exports write it`);
    const ip = parseAddress(address);
    if (ip?.version !== cidr.version || !contains(rangeOf(cidr), ip.value)) {
      return fail("address", `${address} is not in subnet ${subnet}`);
    }
    for (const network of this.#networks.values()) {
      if (segmentKey(network.segment) !== segment) continue;
      const now = network.subnets.find(
        each => each.cidr.version === ip.version && contains(rangeOf(each.cidr), ip.value),
      );
      if (now)
        fail("address", `${address} is in subnet ${now.cidr.text} of network ${network.name}; expected a freed row`);
    }
    return { segment, cidr, offset: ip.value - cidr.base, freedAt: Date.parse(freedAt), lastPort };
  }

  #network(name: string): NetworkRecord {
    return this.#networks.get(name) ?? fail("network", `there is no network row for ${name}`);
  }
}

function toBinding({ host, sandbox, boundAt, attemptedAt }: NonNullable<TransferPort["binding"]>): BindingRecord {
  return { host, sandbox, boundAt: Date.parse(boundAt), attemptedAt: parseTime(attemptedAt) };
}

function locateIn(network: NetworkRecord, text: string, field: string): { ip: HeldIp; subnet: SubnetRecord } {
  const address = parseAddress(text);
  const subnet = network.subnets.find(
    ({ cidr }) => address?.version === cidr.version && contains(rangeOf(cidr), address.value),
  );
  if (!address || !subnet) return fail(field, `${text} is in no subnet of network ${network.name}`);
  return { ip: { subnetId: subnet.id, offset: address.value - subnet.cidr.base }, subnet };
}

const parseTime = (text: string | undefined): number | undefined => (text === undefined ? undefined : Date.parse(text));
