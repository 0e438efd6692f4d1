import assert from "node:assert/strict";
import type { Activation, Claim, PortAttachment, Release } from "../../../ipam-server/contract/index.ts";
import type { Mutation, Outcome } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";

interface ModelPort {
  id: string;
  addresses: string[];
  sticky: boolean;
  epoch: number;
  /** The highest that any answer had. */
  lastEpoch: number;
  inactive: { host: string; sandboxId: string | undefined; ownerUid: string; epoch: number } | undefined;
  ownerUid: string | undefined;
  host: string | undefined;
  sandboxId: string | undefined;
  underlay: string;
}

/**
 * The store as its clients see it: only its answers. Chooses no addresses itself; checks every answer against the
 * guarantees (one holder an address, no reuse before the delay, growing epochs, stale releases change nothing), and at
 * the end the contents of the store.
 */
export class Model {
  readonly ports = new Map<string, ModelPort>();
  readonly #holders = new Map<string, string>();
  readonly #freed = new Map<string, { at: number; by: string }>();
  readonly #reuseDelayMs: number;
  /** How many answers of each sort there were: a test that never meets a full pool proves little. */
  readonly seen = new Map<string, number>();

  constructor(reuseDelayMs: number) {
    this.#reuseDelayMs = reuseDelayMs;
  }

  apply(batch: readonly Mutation[], outcomes: readonly Outcome[], now: number): void {
    assert.equal(outcomes.length, batch.length);
    batch.forEach((item, index) => {
      const outcome = outcomes[index];
      assert.ok(outcome);
      this.#count(`${item.kind}: ${"problem" in outcome ? outcome.problem.code : "done"}`);
      if (item.kind === "claim") this.#claim(item.claim, outcome, now);
      else if (item.kind === "activate") this.#activate(item.activation, outcome);
      else if (item.kind === "release") this.#release(item.release, outcome, now);
      else if (item.kind === "report") this.#report(item.report.name, item.report.epoch, item.report.state, outcome);
      else if (item.kind === "reserve") this.#reserve(item.name, outcome, now);
      else if (item.kind === "deletePort") this.#delete(item.name, outcome, now);
    });
  }

  #count(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
  }

  #claim(claim: Claim, outcome: Outcome, now: number): void {
    const { name = "", host, sandbox, owner, leasedPort } = claim;
    if (leasedPort !== undefined && "segment" in outcome) this.#take(leasedPort, name, owner.uid, outcome, now);
    const old = this.ports.get(name);
    if ("problem" in outcome) {
      const { code } = outcome.problem;
      if (old) assert.notEqual(code, "no_address_available", `port ${name} has its addresses already`);
      return;
    }
    assert.ok("segment" in outcome);
    if (outcome.inactive) {
      this.#bindInactive(claim, outcome);
      return;
    }
    const { port } = outcome;
    const addresses = port.fixedIps.map(({ address }) => address);
    if (!old) this.#hold(name, addresses, now);
    else {
      assert.equal(port.id, old.id, `port ${name} changed its id`);
      // A claim may add a family; it never takes an address.
      const kept = addresses.filter(address => old.addresses.includes(address));
      assert.deepEqual(kept, old.addresses, `port ${name} lost an address`);
      const added = addresses.filter(address => !kept.includes(address));
      if (added.length > 0) this.#hold(name, added, now);
      const isSandbox = old.sandboxId === sandbox?.id || old.sandboxId === undefined || sandbox === undefined;
      const same = old.host === host && isSandbox && old.ownerUid === owner.uid;
      assert.equal(port.epoch, same ? old.epoch : old.lastEpoch + 1, `epoch of port ${name}`);
      if (claim.migration && !same) assert.equal(old.host, undefined, `${name} was taken by a migration's target`);
    }
    const isSameOwner = old?.ownerUid === owner.uid;
    const inactive = isSameOwner && old.inactive?.host !== host ? old.inactive : undefined;
    if (old?.inactive && !inactive) this.#count("ended an INACTIVE binding by a claim");
    assert.equal(port.binding?.host, host);
    this.ports.set(name, {
      id: port.id,
      addresses,
      sticky: port.retention.policy === "sticky",
      epoch: port.epoch,
      lastEpoch: Math.max(port.epoch, old?.lastEpoch ?? 0),
      inactive,
      ownerUid: owner.uid,
      host,
      sandboxId: port.binding.sandbox?.id,
      underlay: port.underlay,
    });
  }

  /** A leased port becomes the pod's unchanged, and replaces the pod's pre-claim if there is one. */
  #take(leasedPort: string, name: string, ownerUid: string, { port }: PortAttachment, now: number): void {
    const [lease, present] = [this.ports.get(leasedPort), this.ports.get(name)];
    if (present !== undefined && present.id === port.id) return;
    assert.ok(lease, `${leasedPort} was no lease, and ${name} took it`);
    if (present !== undefined) {
      const { host, sandboxId, sticky } = present;
      const facts = [host, present.ownerUid, sandboxId, sticky];
      assert.deepEqual(facts, [lease.host, ownerUid, undefined, false], `${name} was there and took a lease`);
      this.#count("replaced a pre-claim");
      this.#drop(name, now);
    }
    assert.equal(port.epoch, lease.epoch, `epoch of ${leasedPort}`);
    this.ports.delete(leasedPort);
    this.ports.set(name, { ...lease, epoch: port.epoch - 1, lastEpoch: port.epoch - 1 });
    for (const address of lease.addresses) this.#holders.set(address, name);
  }

  #release({ name = "", host, sandbox, ownerUid }: Release, outcome: Outcome, now: number): void {
    assert.ok("released" in outcome, JSON.stringify(outcome));
    const port = this.ports.get(name);
    const isMine = (binding: Partial<Pick<ModelPort, "host" | "sandboxId" | "ownerUid">> | undefined): boolean =>
      binding?.host === host &&
      binding.sandboxId === sandbox?.id &&
      (sandbox !== undefined || binding.ownerUid === ownerUid);
    const isActive = isMine(port);
    assert.equal(outcome.released, isActive || isMine(port?.inactive), `release of ${name}`);
    if (!outcome.released) {
      const isBound = port?.host !== undefined || port?.inactive !== undefined;
      assert.equal(outcome.reason, !port ? "not_found" : isBound ? "stale" : "unbound");
    } else if (port) {
      if (isActive) Object.assign(port, { host: undefined, sandboxId: undefined, underlay: "DOWN" });
      else port.inactive = undefined;
      const isKept = port.sticky || port.host !== undefined || port.inactive !== undefined;
      assert.equal(outcome.deleted, !isKept, `${name} deleted`);
      if (!isKept) this.#drop(name, now);
      this.#count(isActive ? "released an ACTIVE binding" : "released an INACTIVE binding");
    }
  }

  /** The ACTIVE binding, the addresses and the MAC stay as they are. */
  #bindInactive({ name = "", host, sandbox, owner }: Claim, { port }: PortAttachment): void {
    const old = this.ports.get(name);
    assert.ok(old, `${name} was made with an INACTIVE binding`);
    const { binding, inactiveBinding } = port;
    const seen = [port.id, port.fixedIps.map(({ address }) => address), port.epoch, binding?.host];
    assert.deepEqual(seen, [old.id, old.addresses, old.epoch, old.host], `${name} as it was`);
    assert.equal(inactiveBinding?.host, host);
    assert.notEqual(host, old.host);
    const { inactive } = old;
    const isSame =
      inactive?.host === host &&
      inactive.ownerUid === owner.uid &&
      (!inactive.sandboxId || !sandbox || inactive.sandboxId === sandbox.id);
    assert.equal(inactiveBinding.epoch, isSame ? inactive.epoch : old.lastEpoch + 1, `INACTIVE epoch of ${name}`);
    this.#count(inactive ? "repeated or replaced an INACTIVE binding" : "added an INACTIVE binding");
    old.inactive = { host, sandboxId: inactiveBinding.sandbox?.id, ownerUid: owner.uid, epoch: inactiveBinding.epoch };
    old.lastEpoch = Math.max(old.lastEpoch, inactiveBinding.epoch);
  }

  #activate({ name, host, epoch }: Activation, outcome: Outcome): void {
    const port = this.ports.get(name);
    const { inactive } = port ?? {};
    const isActive = port?.host === host;
    const mayActivate = inactive?.host === host && (epoch ?? inactive.epoch) === inactive.epoch;
    assert.equal("segment" in outcome, isActive || mayActivate, `activation of ${name} on ${host}`);
    if (isActive || !port || !inactive || !("segment" in outcome)) return;
    assert.equal(outcome.port.epoch, port.lastEpoch + 1, `epoch of port ${name}`);
    assert.deepEqual(
      outcome.port.fixedIps.map(({ address }) => address),
      port.addresses,
    );
    this.#count(port.host === undefined ? "activated a binding of an unbound port" : "activated a binding");
    const { sandboxId, ownerUid } = inactive;
    const { epoch: newEpoch, underlay } = outcome.port;
    Object.assign(port, {
      host,
      sandboxId,
      ownerUid,
      underlay,
      epoch: newEpoch,
      lastEpoch: newEpoch,
      inactive: undefined,
    });
  }

  #report(name: string, epoch: number, state: string, outcome: Outcome): void {
    const port = this.ports.get(name);
    const current = port?.host !== undefined && port.epoch === epoch;
    assert.deepEqual(outcome, current ? { applied: true } : { applied: false, reason: port ? "stale" : "not_found" });
    if (port && current) port.underlay = state;
  }

  #reserve(name: string, outcome: Outcome, now: number): void {
    if ("problem" in outcome) return;
    assert.ok("created" in outcome);
    const { port, created } = outcome;
    const old = this.ports.get(name);
    assert.equal(created, old === undefined);
    const addresses = port.fixedIps.map(({ address }) => address);
    if (old) {
      assert.deepEqual(addresses, old.addresses);
      old.sticky = true;
      return;
    }
    this.#hold(name, addresses, now);
    const unbound = {
      ownerUid: undefined,
      host: undefined,
      sandboxId: undefined,
      inactive: undefined,
      underlay: "DOWN",
    };
    this.ports.set(name, { id: port.id, addresses, sticky: true, epoch: 0, lastEpoch: 0, ...unbound });
  }

  #delete(name: string, outcome: Outcome, now: number): void {
    const port = this.ports.get(name);
    if ("problem" in outcome) {
      assert.equal(outcome.problem.code, port ? "port_in_use" : "not_found");
      assert.equal((port?.host ?? port?.inactive) !== undefined, port !== undefined);
      return;
    }
    assert.ok(port && port.host === undefined && port.inactive === undefined, `port ${name} was deleted while bound`);
    this.#drop(name, now);
  }

  #hold(name: string, addresses: readonly string[], now: number): void {
    assert.ok(addresses.length > 0);
    for (const address of addresses) {
      assert.equal(
        this.#holders.get(address),
        undefined,
        `${address} is held by ${this.#holders.get(address)} and ${name}`,
      );
      const freed = this.#freed.get(address);
      if (freed && freed.by !== name) {
        assert.ok(
          now - freed.at >= this.#reuseDelayMs,
          `${address} was handed out ${now - freed.at} ms after its release`,
        );
      }
      this.#holders.set(address, name);
      this.#freed.delete(address);
    }
  }

  #drop(name: string, now: number): void {
    for (const address of this.ports.get(name)?.addresses ?? []) {
      this.#holders.delete(address);
      this.#freed.set(address, { at: now, by: name });
    }
    this.ports.delete(name);
  }

  /** Everything that was acknowledged is there, and nothing else; every counter is right. */
  async compare(store: Store): Promise<void> {
    assert.deepEqual(await store.check(), []);
    const { ports, nextCursor } = await store.readPorts({ limit: 1000 });
    assert.equal(nextCursor, undefined);
    const found = ports.map(port => ({
      name: port.name,
      id: port.id,
      addresses: port.fixedIps.map(({ address }) => address),
      epoch: port.epoch,
      host: port.binding?.host,
      sandboxId: port.binding?.sandbox?.id,
      inactive: port.inactiveBinding && {
        host: port.inactiveBinding.host,
        sandboxId: port.inactiveBinding.sandbox?.id,
        ownerUid: port.inactiveBinding.ownerUid,
        epoch: port.inactiveBinding.epoch,
      },
      underlay: port.underlay,
    }));
    const known = [...this.ports].map(([name, port]) => {
      const { id, addresses, epoch, host, sandboxId, inactive, underlay } = port;
      return { name, id, addresses, epoch, host, sandboxId, inactive, underlay };
    });
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    assert.deepEqual(found.sort(byName), known.sort(byName));
    const subnets = (await store.readNetworks()).flatMap(network => network.subnets);
    const held = subnets.reduce((sum, { usage }) => sum + usage.held, 0);
    assert.equal(held, this.#holders.size, "held counters");
    const freed = subnets.reduce((sum, { usage }) => sum + usage.freed, 0);
    assert.ok(freed <= this.#freed.size, "freed counters");
  }
}
