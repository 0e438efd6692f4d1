import { type Claim, type ClaimResult, IpamError, LEASE_PREFIX } from "../../contract/index.ts";
import type { NetworkRecord } from "../model/catalog.ts";
import { type PortRecord, sameSandbox, toAttachment } from "../model/port-record.ts";
import { isReserved } from "../model/reservation.ts";
import type { DecisionContext } from "./allocate.ts";
import { decideRelease } from "./decide-release.ts";
import { findMismatch } from "./mismatch.ts";
import { freeShare } from "./needs.ts";
import { emitPortEvent } from "./port-event.ts";
import type { WorkingState } from "./working-state.ts";

/**
 * Leases: a node holds addresses for pods yet to come. Each is a port bound to the node without a sandbox, made by a
 * claim as any other, so that the same row keeps the address from everybody else. Three things are different:
 *
 *     claim by owner kind `lease`      only where the network has `nodeLease`; repeated, it prolongs the lease
 *     claim with `leasedPort`          the port becomes the pod's, which has been given it already
 *     the lease's end                  the node gives away no more of it; nothing is freed by the clock alone
 */
export const isLease = ({ owner }: Pick<PortRecord, "owner">): boolean => owner?.kind === "lease";

/** A network that has less than this left leases nothing more: what is left is for those who ask. */
const LEAST_FREE_SHARE = 0.1;

/** The names of leases are theirs alone. */
export function assertLeaseName(name: string, claim: Claim): void {
  const { owner, host, sandbox, retention, leasedPort } = claim;
  const prefix = `${LEASE_PREFIX}${host}/`;
  const refuse = (field: string, message: string): never => {
    throw new IpamError("invalid_request", message, { field });
  };
  if (owner.kind !== "lease") {
    if (name.startsWith(LEASE_PREFIX))
      refuse("name", `name is ${name}, but ${LEASE_PREFIX} begins the names of leases`);
    if (leasedPort !== undefined && retention?.policy === "sticky")
      refuse("retention", "a leased address is for an ephemeral port; sticky ports are claimed by name");
    return;
  }
  if (!name.startsWith(prefix)) refuse("name", `name is ${name}; the lease of a node begins with ${prefix}`);
  if (sandbox) refuse("sandbox", "a lease is for no sandbox; a claim with leasedPort gives it to one");
  if (retention?.policy === "sticky") refuse("retention", "a lease is ephemeral; sticky ports are claimed by name");
  if (leasedPort !== undefined) refuse("leasedPort", "a lease cannot be made of another one");
}

/** Throws `conflict` when the network leases nothing (any more). */
function assertLeases(network: NetworkRecord): void {
  if (network.nodeLease) return;
  throw new IpamError("conflict", `network ${network.name} leases no addresses to nodes; claim ports by name`);
}

/** Throws that, or `no_address_available` when it has little left. */
export function assertLeasable(network: NetworkRecord, working: WorkingState): void {
  assertLeases(network);
  if (freeShare(network, undefined, subnet => working.counters(subnet)) >= LEAST_FREE_SHARE) return;
  throw new IpamError(
    "no_address_available",
    `network ${network.name} has less than a tenth of its addresses left and leases no more of them; claim ports by name`,
  );
}

/** The node's own lease again: goes on from now, unless the network leases no more or is not the one asked for. */
export function prolong(port: PortRecord, claim: Claim, working: WorkingState, context: DecisionContext): ClaimResult {
  const network = working.catalog.network(port.networkId);
  assertLeases(network);
  const mismatch = findMismatch(port, claim, working);
  if (mismatch) throw mismatch;
  const prolonged = { ...port, expiresAt: context.now + context.leaseMs, updatedAt: context.now };
  working.putPort(prolonged);
  return toAttachment(prolonged, working.catalog);
}

/**
 * The leased port becomes the claim's. The binding stays the one it was, and so does its epoch: who plugged it knew both.
 * Late is no reason to refuse: the node gave the address away while it was its own, and nobody else had it since.
 */
export function takeLease(
  claim: Claim & { name: string; leasedPort: string },
  ownerCreatedAt: number,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): ClaimResult {
  const { name, leasedPort, host, sandbox, owner } = claim;
  const present = working.port(name);
  const isOwn = present?.binding?.host === host && present.owner?.uid === owner.uid;
  if (present && isOwn && sameSandbox(present.binding?.sandbox, sandbox)) return toAttachment(present, working.catalog);
  const isUnused = isOwn && present.binding?.sandbox === undefined && present.retention.policy === "ephemeral";
  if (present && !(isUnused && !isReserved(present))) {
    throw new IpamError("port_in_use", `port ${name} is there already; a leased address is for a name nobody has`, {
      ports: [name],
    });
  }
  const lease = working.port(leasedPort);
  if (!lease || !isLease(lease) || lease.binding?.host !== host) {
    throw new IpamError("conflict", `${leasedPort} is no lease of host ${host} any more; claim a port without it`, {
      field: "leasedPort",
    });
  }
  const taken: PortRecord = {
    ...lease,
    name,
    labels: claim.labels ?? {},
    owner: { kind: owner.kind, uid: owner.uid, createdAt: ownerCreatedAt },
    binding: { host, sandbox, boundAt: context.now },
    nameFrom: claim.nameFrom ?? "pod",
    cluster: claim.cluster ?? lease.cluster,
    namespace: claim.namespace,
    underlay: "BUILD",
    updatedAt: context.now,
    expiresAt: undefined,
  };
  // Claimed ahead of the pod's sandbox, of which the node had not heard: nothing was plugged for it.
  if (present) decideRelease({ name, host, ownerUid: owner.uid }, caller, working, context);
  working.removePort(lease);
  working.putPort(taken);
  emitPortEvent(working, "port.bound", taken, caller, { message: `from ${leasedPort}` });
  return toAttachment(taken, working.catalog);
}
