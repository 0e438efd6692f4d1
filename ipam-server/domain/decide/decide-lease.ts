import { type Claim, type ClaimResult, IpamError, LEASE_PREFIX } from "../../contract/index.ts";
import type { NetworkRecord } from "../model/catalog.ts";
import { freeShare } from "../model/free-share.ts";
import type { ParsedClaim } from "../model/mutation.ts";
import { type PortRecord, sameSandbox, toAttachment } from "../model/port-record.ts";
import { isReserved } from "../model/reservation.ts";
import { decideRelease } from "./decide-release.ts";
import type { DecisionScope } from "./decision-scope.ts";
import { findMismatch } from "./placement/mismatch.ts";
import { emitPortEvent } from "./port-event.ts";
import type { WorkingState } from "./working-state.ts";

/**
 * Leases: a node holds addresses for future pods. Each is a port bound to the node without a sandbox, created by a claim
 * as any other, so that the same row keeps the address from all other ports. Three things differ:
 *
 *     claim by owner kind `lease`      only where the network has `nodeLease`; repeated, it renews the lease
 *     claim with `leasedPort`          the port becomes that of the pod, which has the address already
 *     the lease's end                  the node assigns it no more; expiry alone frees nothing
 */
export const isLease = ({ owner }: Pick<PortRecord, "owner">): boolean => owner?.kind === "lease";

/** A network with a smaller free share leases nothing more: the rest is for claims by name. */
const LEAST_FREE_SHARE = 0.1;

/** Throws `invalid_request` when a claim uses a lease's name without being one, or the reverse. */
export function assertLeaseName(name: string, claim: Claim): void {
  const { owner, host, sandbox, retention, leasedPort } = claim;
  const prefix = `${LEASE_PREFIX}${host}/`;
  const fail = (field: string, message: string): never => {
    throw new IpamError("invalid_request", message, { field });
  };
  if (owner.kind !== "lease") {
    if (name.startsWith(LEASE_PREFIX)) fail("name", `name is ${name}, but ${LEASE_PREFIX} begins the names of leases`);
    if (leasedPort !== undefined && retention?.policy === "sticky")
      fail("retention", "a leased address is for an ephemeral port; sticky ports are claimed by name");
    return;
  }
  if (!name.startsWith(prefix)) fail("name", `name is ${name}; the lease of a node begins with ${prefix}`);
  if (sandbox) fail("sandbox", "a lease has no sandbox; a claim with leasedPort assigns it to one");
  if (retention?.policy === "sticky") fail("retention", "a lease is ephemeral; sticky ports are claimed by name");
  if (leasedPort !== undefined) fail("leasedPort", "a lease cannot be made of another one");
}

/** Throws `conflict` when the network leases no addresses. */
function assertHasLeases(network: NetworkRecord): void {
  if (network.nodeLease) return;
  throw new IpamError("conflict", `network ${network.name} leases no addresses to nodes; claim ports by name`);
}

/** Throws `conflict` when the network leases no addresses, `no_address_available` when few are free. */
export function assertLeasable(network: NetworkRecord, working: WorkingState): void {
  assertHasLeases(network);
  if (freeShare(network, undefined, subnet => working.counters(subnet)) >= LEAST_FREE_SHARE) return;
  throw new IpamError(
    "no_address_available",
    `network ${network.name} has less than a tenth of its addresses left and leases no more of them; claim ports by name`,
  );
}

/** Renews the node's own lease. Throws when the network leases no more or does not match the claim. */
export function renewLease(port: PortRecord, claim: ParsedClaim, { working, context }: DecisionScope): ClaimResult {
  assertHasLeases(working.catalog.network(port.networkId));
  const mismatch = findMismatch(port, claim, working);
  if (mismatch) throw mismatch;
  const renewed = { ...port, expiresAt: context.now + context.leaseMs, updatedAt: context.now };
  working.putPort(renewed);
  return toAttachment(renewed, working.catalog);
}

/**
 * Turns the leased port into the claim's. Binding and epoch stay, because the node plugged the port with both. A late
 * claim succeeds too: the node assigned the address while it was its own, and no other port had it since.
 */
export function assignLease(
  claim: ParsedClaim & { name: string; leasedPort: string },
  scope: DecisionScope,
): ClaimResult {
  const { working, context } = scope;
  const { name, leasedPort, host, sandbox, attemptedAt, owner } = claim;
  const present = working.port(name);
  const isOwn = present?.binding?.host === host && present.owner?.uid === owner.uid;
  if (present && isOwn && sameSandbox(present.binding?.sandbox, sandbox)) return toAttachment(present, working.catalog);
  const isUnused =
    isOwn && present.binding?.sandbox === undefined && !present.inactive && present.retention.policy === "ephemeral";
  if (present && !(isUnused && !isReserved(present))) {
    throw new IpamError("port_in_use", `port ${name} exists already; a leased address is for a name that no port has`, {
      ports: [name],
    });
  }
  const lease = working.port(leasedPort);
  if (!lease || !isLease(lease) || lease.binding?.host !== host) {
    throw new IpamError("conflict", `${leasedPort} is no lease of host ${host} any more; claim a port without it`, {
      field: "leasedPort",
    });
  }
  const assigned: PortRecord = {
    ...lease,
    name,
    labels: claim.labels ?? {},
    owner,
    binding: { host, sandbox, attemptedAt, boundAt: context.now },
    nameFrom: claim.nameFrom ?? "pod",
    cluster: claim.cluster ?? lease.cluster,
    namespace: claim.namespace,
    workload: claim.workload,
    underlay: "BUILD",
    updatedAt: context.now,
    unneeded: undefined,
    expiresAt: undefined,
  };
  // A pre-claim whose answer the node never received: nothing was plugged for it.
  if (present) decideRelease({ name, host, ownerUid: owner.uid }, scope);
  working.removePort(lease);
  working.putPort(assigned);
  emitPortEvent("port.bound", assigned, scope, { message: `from ${leasedPort}` });
  return toAttachment(assigned, working.catalog);
}
