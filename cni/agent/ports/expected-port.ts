import type { Claim, PortAttachment } from "../../../ipam-server/contract/index.ts";
import type { ExpectedPort } from "../../verbs/backend.ts";
import { isSameRequest } from "../claims/claim-builder.ts";
import type { Leases } from "../leases/leases.ts";
import type { UnreportedLeases } from "../leases/unreported-leases.ts";
import type { AgentMetrics } from "../metrics.ts";
import type { HeldPorts } from "./held-ports.ts";

export interface ExpectedPortOptions {
  held: HeldPorts;
  leases: Pick<Leases, "assign">;
  unreported: UnreportedLeases;
  metrics: Pick<AgentMetrics, "preclaims">;
  /** See `ExpectedPort.confirmLater`. */
  confirmLater(claim: Claim, expected: PortAttachment): void;
}

/**
 * Assigns a leased address to the claim's pod if neither this node nor the IPAM can hold a port for it. Changes nothing
 * before the node's bindings are loaded, because until then a miss in `held` proves nothing.
 */
export function assignLease({ held, leases, unreported }: ExpectedPortOptions, claim: Claim): void {
  const { name, owner, sandbox } = claim;
  if (name === undefined || sandbox === undefined || !held.isSynced) return;
  if (held.find(owner.uid, sandbox.interface) !== undefined || unreported.find(sandbox) !== undefined) return;
  const assigned = leases.assign(claim);
  if (assigned !== undefined) unreported.begin({ ...claim, name, sandbox }, assigned);
}

/**
 * Reserves for the claim's sandbox the port that this node holds for its owner. Returns undefined if there is none, if
 * another sandbox uses it, or if it was claimed with another request.
 */
export function reserveHeldPort(options: ExpectedPortOptions, claim: Claim): ExpectedPort | undefined {
  const { held, metrics, confirmLater } = options;
  const { owner, sandbox } = claim;
  if (sandbox === undefined) return undefined;
  const found = held.find(owner.uid, sandbox.interface);
  const isFree = found?.sandboxId === undefined || found.sandboxId === sandbox.id;
  const isSame = found?.claim !== undefined && isSameRequest(found.claim, claim);
  if (found?.attachment === undefined || !isFree || !isSame) {
    metrics.preclaims.inc({ outcome: "miss" });
    return undefined;
  }
  const { attachment } = found;
  held.put(owner.uid, sandbox.interface, { ...found, sandboxId: sandbox.id });
  metrics.preclaims.inc({ outcome: "hit" });
  const isHeld = () => held.find(owner.uid, sandbox.interface)?.sandboxId === sandbox.id;
  return { attachment, isHeld, confirmLater: () => confirmLater(claim, attachment) };
}
