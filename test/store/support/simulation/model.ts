import assert from "node:assert/strict";
import type {
  Activation,
  Claim,
  NetworkManifest,
  Port,
  PortAttachment,
  PortReservation,
  Release,
} from "../../../../ipam-server/contract/index.ts";
import type { Mutation, Outcome } from "../../../../ipam-server/domain/model/mutation.ts";
import { AddressBook } from "./address-book.ts";
import { bearerOf } from "./bearers.ts";
import { addressesOf, assertMayHave, assertRefusal, fits } from "./claim-promises.ts";
import type { ModelPort } from "./model-port.ts";

/**
 * The store as its clients see it: only its answers. Chooses no addresses itself; checks every answer against the
 * guarantees (one holder an address, no reuse before the delay, growing epochs, no port to another kind of owner, stale
 * releases change nothing), and at the end the contents of the store.
 */
export class Model {
  readonly ports = new Map<string, ModelPort>();
  readonly book: AddressBook;
  /** How many answers of each sort there were: a test that never meets a full pool proves little. */
  readonly seen = new Map<string, number>();

  constructor(reuseDelayMs: number) {
    this.book = new AddressBook(reuseDelayMs);
  }

  hasPortsOn(network: string): boolean {
    return [...this.ports.values()].some(port => port.network === network);
  }

  declare(manifest: NetworkManifest): void {
    this.book.networks.set(manifest.metadata.name, manifest);
    this.count("declared a network");
  }

  /** The clock was set: no wait is changed if the store saw it, and none is longer than its delay if it did not. */
  correctWaits(jumpMs: number, isSeen: boolean, now: number): void {
    this.book.correct(jumpMs, isSeen, now);
    for (const port of this.ports.values()) {
      if (port.expiresAt === undefined) continue;
      const longestMs = (port.retention.ttlSeconds ?? Number.POSITIVE_INFINITY) * 1000;
      port.expiresAt = Math.min(port.expiresAt + (isSeen ? jumpMs : 0), now + longestMs);
    }
    this.count("corrected waits");
  }

  /** The store has deleted so many ports because their retention has ended. */
  expire(deleted: number, now: number): void {
    const due = [...this.ports].filter(([, { expiresAt }]) => expiresAt !== undefined && expiresAt <= now);
    assert.equal(deleted, due.length, `${due.map(([name]) => name).join(", ")} expired`);
    for (const [name] of due) this.#drop(name, now);
    this.count("expired", deleted);
  }

  apply(batch: readonly Mutation[], outcomes: readonly Outcome[], now: number): void {
    assert.equal(outcomes.length, batch.length);
    batch.forEach((item, index) => {
      const outcome = outcomes[index];
      assert.ok(outcome);
      this.count(`${item.kind}: ${"problem" in outcome ? outcome.problem.code : "done"}`);
      if (item.kind === "claim") this.#claim(item.claim, outcome, now);
      else if (item.kind === "activate") this.#activate(item.activation, outcome);
      else if (item.kind === "release") this.#release(item.release, outcome, now);
      else if (item.kind === "report") this.#report(item.report.name, item.report.epoch, item.report.state, outcome);
      else if (item.kind === "reserve") this.#reserve(item.name, item.reservation, outcome, now);
      else if (item.kind === "deletePort") this.#delete(item.name, outcome, now);
    });
  }

  count(what: string, by = 1): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + by);
  }

  #claim(claim: Claim, outcome: Outcome, now: number): void {
    const { name = "", host, sandbox, owner, leasedPort } = claim;
    if (leasedPort !== undefined && "segment" in outcome) this.#take(leasedPort, name, owner.uid, outcome, now);
    const old = this.ports.get(name);
    if ("problem" in outcome) {
      assertRefusal(claim, outcome.problem, old, this.book, now);
      return;
    }
    assert.ok("segment" in outcome);
    if (leasedPort === undefined) assertMayHave(claim, old);
    if (outcome.inactive) {
      this.#bindInactive(claim, outcome);
      return;
    }
    const { port } = outcome;
    const addresses = addressesOf(port);
    let isChanged = false;
    if (!old) this.book.hold(port.network, name, addresses, now);
    else {
      assert.equal(port.id, old.id, `port ${name} changed its id`);
      isChanged = this.#reallocate(claim, old, port, now);
      const isSandbox = old.sandboxId === sandbox?.id || old.sandboxId === undefined || sandbox === undefined;
      const same = old.host === host && isSandbox && old.ownerUid === owner.uid;
      assert.equal(port.epoch, same ? old.epoch : old.lastEpoch + 1, `epoch of port ${name}`);
      if (claim.migration && !same) assert.equal(old.host, undefined, `${name} was taken by a migration's target`);
      if (old.retention.policy === "sticky") assert.equal(port.retention.policy, "sticky", `${name} is kept no more`);
    }
    const isSameOwner = old?.ownerUid === owner.uid;
    const inactive = isSameOwner && !isChanged && old.inactive?.host !== host ? old.inactive : undefined;
    if (old?.inactive && !inactive) this.count("ended an INACTIVE binding by a claim");
    assert.equal(port.binding?.host, host);
    this.ports.set(name, {
      id: port.id,
      network: port.network,
      addresses,
      mac: port.mac,
      retention: port.retention,
      allowed: old?.allowed,
      bearer: bearerOf(claim),
      expiresAt: undefined,
      epoch: port.epoch,
      lastEpoch: Math.max(port.epoch, old?.lastEpoch ?? 0),
      inactive,
      ownerUid: owner.uid,
      host,
      sandboxId: port.binding.sandbox?.id,
      underlay: port.underlay,
    });
  }

  /** A claim adds families. It takes an address only if it may move the port, and only one that does not fit it. */
  #reallocate(claim: Claim, old: ModelPort, port: Port, now: number): boolean {
    const { name } = port;
    const addresses = addressesOf(port);
    const lost = old.addresses.filter(address => port.network !== old.network || !addresses.includes(address));
    const added = addresses.filter(address => !old.addresses.includes(address) || lost.includes(address));
    const mayMove = claim.onMismatch === "reallocate" && old.allowed === undefined;
    if (port.network !== old.network) assert.ok(mayMove && (claim.ips ?? claim.families), `port ${name} was moved`);
    else for (const address of lost) assert.ok(mayMove && !fits(address, claim), `port ${name} lost ${address}`);
    this.book.free(old.network, name, lost, now);
    this.book.hold(port.network, name, added, now);
    if (lost.length > 0) this.count("reallocated");
    return lost.length > 0 || added.length > 0 || port.mac !== old.mac;
  }

  /** A leased port becomes the pod's unchanged, and replaces the pod's pre-claim if there is one. */
  #take(leasedPort: string, name: string, ownerUid: string, { port }: PortAttachment, now: number): void {
    const [lease, present] = [this.ports.get(leasedPort), this.ports.get(name)];
    if (present !== undefined && present.id === port.id) return;
    assert.ok(lease, `${leasedPort} was no lease, and ${name} took it`);
    if (present !== undefined) {
      const { host, sandboxId, retention } = present;
      const facts = [host, present.ownerUid, sandboxId, retention.policy];
      assert.deepEqual(facts, [lease.host, ownerUid, undefined, "ephemeral"], `${name} was there and took a lease`);
      this.count("replaced a pre-claim");
      this.#drop(name, now);
    }
    assert.equal(port.epoch, lease.epoch, `epoch of ${leasedPort}`);
    this.ports.delete(leasedPort);
    this.ports.set(name, { ...lease, epoch: port.epoch - 1, lastEpoch: port.epoch - 1 });
    this.book.rename(lease.network, name, lease.addresses);
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
      const isBound = port.host !== undefined || port.inactive !== undefined;
      const { policy, ttlSeconds } = port.retention;
      const isKept = policy === "sticky" || isBound;
      if (!isBound && ttlSeconds !== undefined) port.expiresAt = now + ttlSeconds * 1000;
      assert.equal(outcome.deleted, !isKept, `${name} deleted`);
      if (!isKept) this.#drop(name, now);
      this.count(isActive ? "released an ACTIVE binding" : "released an INACTIVE binding");
    }
  }

  /** The ACTIVE binding, the addresses and the MAC stay as they are. */
  #bindInactive(claim: Claim, { port }: PortAttachment): void {
    const { name = "", host, sandbox, owner } = claim;
    const old = this.ports.get(name);
    assert.ok(old, `${name} was made with an INACTIVE binding`);
    const { binding, inactiveBinding } = port;
    const seen = [port.id, addressesOf(port), port.epoch, binding?.host];
    assert.deepEqual(seen, [old.id, old.addresses, old.epoch, old.host], `${name} as it was`);
    assert.equal(inactiveBinding?.host, host);
    assert.notEqual(host, old.host);
    const { inactive } = old;
    const isSame =
      inactive?.host === host &&
      inactive.ownerUid === owner.uid &&
      (!inactive.sandboxId || !sandbox || inactive.sandboxId === sandbox.id);
    assert.equal(inactiveBinding.epoch, isSame ? inactive.epoch : old.lastEpoch + 1, `INACTIVE epoch of ${name}`);
    this.count(inactive ? "repeated or replaced an INACTIVE binding" : "added an INACTIVE binding");
    const { epoch } = inactiveBinding;
    old.inactive = {
      host,
      sandboxId: inactiveBinding.sandbox?.id,
      ownerUid: owner.uid,
      epoch,
      bearer: bearerOf(claim),
    };
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
    assert.deepEqual(addressesOf(outcome.port), port.addresses);
    this.count(port.host === undefined ? "activated a binding of an unbound port" : "activated a binding");
    const { sandboxId, ownerUid, bearer } = inactive;
    const { epoch: newEpoch, underlay } = outcome.port;
    Object.assign(port, {
      host,
      sandboxId,
      ownerUid,
      bearer,
      underlay,
      epoch: newEpoch,
      lastEpoch: newEpoch,
      inactive: undefined,
      expiresAt: undefined,
    });
  }

  #report(name: string, epoch: number, state: string, outcome: Outcome): void {
    const port = this.ports.get(name);
    const current = port?.host !== undefined && port.epoch === epoch;
    assert.deepEqual(outcome, current ? { applied: true } : { applied: false, reason: port ? "stale" : "not_found" });
    if (port && current) port.underlay = state;
  }

  #reserve(name: string, reservation: PortReservation, outcome: Outcome, now: number): void {
    if ("problem" in outcome) return;
    assert.ok("created" in outcome);
    const { port, created } = outcome;
    const old = this.ports.get(name);
    assert.equal(created, old === undefined);
    const addresses = addressesOf(port);
    const { retention } = port;
    assert.deepEqual(retention, { policy: "sticky" });
    const { cluster, namespace } = old?.bearer ?? {};
    // Reserving again admits no more namespaces by omission.
    const allowed = reservation.allowedNamespaces ?? old?.allowed ?? [cluster ? `${cluster}/${namespace}` : "*"];
    if (old) {
      assert.deepEqual(addresses, old.addresses);
      Object.assign(old, { retention, allowed, expiresAt: undefined });
      return;
    }
    this.book.hold(port.network, name, addresses, now);
    const unbound = {
      bearer: undefined,
      ownerUid: undefined,
      host: undefined,
      sandboxId: undefined,
      inactive: undefined,
      expiresAt: undefined,
      underlay: "DOWN",
    };
    const { id, network, mac } = port;
    this.ports.set(name, { id, network, addresses, mac, retention, allowed, epoch: 0, lastEpoch: 0, ...unbound });
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

  #drop(name: string, now: number): void {
    const port = this.ports.get(name);
    if (port) this.book.free(port.network, name, port.addresses, now);
    this.ports.delete(name);
  }
}
