import assert from "node:assert/strict";
import type { IpFamily, NetworkManifest } from "../../../../ipam-server/contract/index.ts";
import { familyOf, formatAddress } from "../../../../ipam-server/domain/model/address.ts";
import { parseSubnet } from "../../../../ipam-server/domain/networks/parse-subnet.ts";

interface Freed {
  at: number;
  by: string;
  /** Its wait ended before a jump of the clock, so that the store may wait again or not. */
  hasWaited: boolean;
}

/** Who holds and held each address of each segment, whichever network declares it. */
export class AddressBook {
  readonly networks = new Map<string, NetworkManifest>();
  readonly #holders = new Map<string, string>();
  readonly #freed = new Map<string, Freed>();
  readonly reuseDelayMs: number;

  constructor(reuseDelayMs: number) {
    this.reuseDelayMs = reuseDelayMs;
  }

  get heldCount(): number {
    return this.#holders.size;
  }

  get freedCount(): number {
    return this.#freed.size;
  }

  hold(network: string, name: string, addresses: readonly string[], now: number): void {
    for (const address of addresses) {
      const key = this.#key(network, address);
      const holder = this.#holders.get(key);
      assert.equal(holder, undefined, `${address} is held by ${holder} and ${name}`);
      const freed = this.#freed.get(key);
      const waitedMs = now - (freed?.at ?? 0);
      const mayHold = freed === undefined || freed.by === name || freed.hasWaited || waitedMs >= this.reuseDelayMs;
      assert.ok(mayHold, `${address} of ${freed?.by} was handed out to ${name} ${waitedMs} ms after its release`);
      this.#holders.set(key, name);
      this.#freed.delete(key);
    }
  }

  free(network: string, name: string, addresses: readonly string[], now: number): void {
    for (const address of addresses) {
      const key = this.#key(network, address);
      this.#holders.delete(key);
      this.#freed.set(key, { at: now, by: name, hasWaited: false });
    }
  }

  rename(network: string, name: string, addresses: readonly string[]): void {
    for (const address of addresses) this.#holders.set(this.#key(network, address), name);
  }

  /** True if another port has the address on some segment, or had it less than the delay ago. */
  isKeptFrom(name: string, address: string, now: number): boolean {
    return [...this.networks.keys()].some(network => {
      const key = this.#key(network, address);
      const [holder, freed] = [this.#holders.get(key), this.#freed.get(key)];
      if (holder !== undefined) return holder !== name;
      return freed !== undefined && freed.by !== name && now - freed.at < this.reuseDelayMs;
    });
  }

  /** True if some network has an address of each family, or of each of its own, that no port holds and none waits for. */
  hasFree(families: readonly IpFamily[] | undefined, now: number): boolean {
    return [...this.networks].some(([network, { spec }]) => {
      const free = new Map<IpFamily, boolean>();
      for (const subnetSpec of spec.subnets ?? []) {
        const { cidr, ranges } = parseSubnet(subnetSpec, "subnet");
        const family = familyOf(cidr.version);
        let isFree = free.get(family) ?? false;
        for (const { first, last } of ranges) {
          for (let offset = first; !isFree && offset <= last; offset++) {
            const key = this.#key(network, formatAddress(cidr.version, cidr.base + offset));
            isFree = !this.#holders.has(key) && now - (this.#freed.get(key)?.at ?? 0) >= this.reuseDelayMs;
          }
        }
        free.set(family, isFree);
      }
      const needed = families ?? [...free.keys()];
      return needed.length > 0 && needed.every(family => free.get(family));
    });
  }

  /** The clock was set: what waits shifts with it if the store saw it, and waits no longer than the delay. */
  correct(jumpMs: number, isSeen: boolean, now: number): void {
    for (const freed of this.#freed.values()) {
      freed.hasWaited ||= now - jumpMs - freed.at >= this.reuseDelayMs;
      freed.at = Math.min(freed.at + (isSeen ? jumpMs : 0), now);
    }
  }

  #key(network: string, address: string): string {
    const segment = this.networks.get(network)?.spec.segment;
    assert.ok(segment?.type === "vlan", `network ${network} is not declared`);
    return `${segment.id} ${address}`;
  }
}
