import assert from "node:assert/strict";
import type { Claim, Port, Problem } from "../../../../ipam-server/contract/index.ts";
import type { AddressBook } from "./address-book.ts";
import { identityOf, isOrdered } from "./bearers.ts";
import type { ModelPort } from "./model-port.ts";

/** No claim is refused for a wait that is over, for the owner's own addresses or for an older owner. */
export function assertRefusal(
  claim: Claim,
  problem: Problem,
  old: ModelPort | undefined,
  book: AddressBook,
  now: number,
): void {
  const { name = "", owner, families, ips, mac, onMismatch } = claim;
  const { code, detail, retryAfterSeconds = 0 } = problem;
  assert.ok(retryAfterSeconds * 1000 <= book.reuseDelayMs, detail);
  if (code === "stale_owner") {
    const owners = [old?.bearer?.owner, old?.inactive?.bearer.owner];
    assert.ok(
      owners.some(each => each && Date.parse(each.createdAt) > Date.parse(owner.createdAt)),
      `${detail}: no owner was younger`,
    );
  }
  const [, wanted] = /wanted address (\S+) (?:is held|was freed)/.exec(detail) ?? [];
  if (wanted !== undefined) assert.ok(book.isKeptFrom(name, wanted, now), `${detail}: ${name} may have it`);
  if (code !== "no_address_available") return;
  if (old) assert.ok(families ?? onMismatch, `port ${name} has its addresses already`);
  else if (owner.kind !== "lease" && !ips && !mac) {
    assert.ok(!book.hasFree(families, now), `an address is free for ${name}: ${detail}`);
  }
}

export const addressesOf = ({ fixedIps }: Port): string[] => fixedIps.map(({ address }) => address);

const isIpv6 = (address: string): boolean => address.includes(":");

/** True if the claim, which may move the port, has no reason to take this address from it. */
export function fits(address: string, { families, ips = [] }: Claim): boolean {
  const isOther = ips.some(ip => isIpv6(ip) === isIpv6(address) && ip !== address);
  return !isOther && (families?.includes(isIpv6(address) ? "ipv6" : "ipv4") ?? true);
}

/** Kind and source are part of a port's name, and a reserved one is for its namespaces only. */
export function assertMayHave(claim: Claim, port: ModelPort | undefined): void {
  const { name, cluster, namespace, nameFrom, migration, owner } = claim;
  const allowed = port?.allowed;
  if (nameFrom === "reserved") assert.ok(allowed, `${name} is not reserved`);
  const isAllowed = allowed?.some(each => ["*", `${cluster}/*`, `${cluster}/${namespace}`].includes(each)) ?? true;
  assert.ok(isAllowed, `${name} is reserved for ${allowed}, not for ${cluster}/${namespace}`);
  if (!port?.bearer || port.ownerUid === owner.uid) return;
  assert.equal(identityOf(claim), identityOf(port.bearer), `${name} went to another kind of owner`);
  if (isOrdered(claim) || migration) return;
  assert.equal(port.host, undefined, `${name} was bound to another owner, and nothing orders the two`);
}
