import { IpamError, type NetworkManifest, type PutNetworkResponse } from "../contract/index.ts";
import { type Catalog, type NetworkDeclaration, type NetworkRecord, toNetwork } from "../domain/model/catalog.ts";
import { applyEdit, type NetworkEdit } from "../domain/networks/network-edit.ts";
import { type NetworkChange, type Obstacle, planNetworkChange } from "../domain/networks/plan-network-change.ts";
import { validateNetwork } from "../domain/networks/validate-network.ts";
import { MAX_PORTS_NAMED } from "./limits.ts";

interface NetworkPlan {
  declaration: NetworkDeclaration;
  /** The network before the change. */
  old: NetworkRecord | undefined;
  change: NetworkChange;
  /** What the error says when ports obstruct the change. */
  failure: string;
}

/** Validates a declared network and compares it with the one in the catalog. */
export function planNetwork(manifest: NetworkManifest, catalog: Catalog): NetworkPlan {
  const declaration = validateNetwork(manifest, catalog.networks);
  const old = catalog.networks.find(({ name }) => name === declaration.name);
  const failure = `network ${declaration.name} cannot be changed so`;
  return { declaration, old, change: planNetworkChange(old, declaration), failure };
}

/** The answer to an edit that changes nothing in the catalog; undefined for one that does. */
export function findUnchanged(edit: NetworkEdit, catalog: Catalog): PutNetworkResponse | undefined {
  const { old, change } = planNetwork(applyEdit(edit, catalog.networks), catalog);
  return old && change.outcome === "unchanged"
    ? { network: toNetwork(old), outcome: change.outcome, changes: [] }
    : undefined;
}

interface DeletionPlan {
  network: NetworkRecord;
  obstacles: Obstacle[];
  failure: string;
}

/** Every held address of a network obstructs its deletion. Throws `not_found`. */
export function planDeletion(name: string, catalog: Catalog): DeletionPlan {
  const network = findNetwork(name, catalog.networks);
  const obstacles = network.subnets.map(subnet => ({
    subnet,
    ranges: [{ first: 0n, last: subnet.cidr.count - 1n }],
    why: `holds an address of subnet ${subnet.cidr.text}`,
  }));
  return { network, obstacles, failure: `network ${name} cannot be deleted` };
}

/** Throws `not_found`. */
export function findNetwork<T extends { name: string }>(name: string, networks: readonly T[]): T {
  const network = networks.find(candidate => candidate.name === name);
  if (!network) throw new IpamError("not_found", `there is no network ${name}`);
  return network;
}

/** Collects the held addresses that obstruct a change, and the first ports that hold them. */
export class ObstacleReport {
  readonly #ports = new Set<string>();
  readonly #reasons = new Set<string>();
  #held = 0;

  add({ why }: Obstacle, held: number, portNames: readonly string[]): void {
    this.#held += held;
    this.#reasons.add(why);
    for (const name of portNames) this.#ports.add(name);
  }

  /** Throws `conflict`, which lists the ports, if any address is held. */
  assertEmpty(failure: string): void {
    if (this.#held === 0) return;
    const ports = [...this.#ports].slice(0, MAX_PORTS_NAMED);
    const addresses = this.#held === 1 ? "1 held address is" : `${this.#held} held addresses are`;
    const reasons = [...this.#reasons].join("; ");
    throw new IpamError(
      "conflict",
      `${failure}: ${addresses} in the way: port ${ports[0]} ${reasons}; release and delete the ports first`,
      { ports },
    );
  }
}
