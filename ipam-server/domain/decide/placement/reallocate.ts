import type { PlacementRequest } from "../../model/placement-request.ts";
import type { HeldIp, PortRecord } from "../../model/port-record.ts";
import type { DecisionScope } from "../decision-scope.ts";
import { dropInactive } from "../inactive/inactive-binding.ts";
import { emitPortEvent } from "../port-event.ts";
import { assertMayAssign } from "../recovery-gate.ts";
import { choosePlacement } from "./choose-placement.ts";

/**
 * Gives an existing port the network, addresses and MAC of the request, and keeps what fits of those it has. Throws
 * when they would be on another network and the port may not move.
 */
export function reallocate(
  present: PortRecord,
  request: PlacementRequest,
  { mayMove }: { mayMove: boolean },
  scope: DecisionScope,
): PortRecord {
  const { working, context } = scope;
  if (!request.plugged) assertMayAssign(context.recovery);
  const { network, ips, mac, previousBindingReleased } = choosePlacement(request, present, scope, { mayMove });
  // What is plugged on a migration's target has the former addresses.
  const port = dropInactive(present, scope);
  const moved: PortRecord = {
    ...port,
    networkId: network.id,
    fixedIps: ips,
    mac,
    previousBindingReleased: previousBindingReleased && port.binding === undefined,
    updatedAt: context.now,
  };
  for (const ip of port.fixedIps) if (!includes(ips, ip)) working.free(ip, port, context.now);
  for (const ip of ips) if (!includes(port.fixedIps, ip)) working.hold(ip, port.key);
  working.putPort(moved);
  const before = working.addressTexts(port.fixedIps);
  emitPortEvent("port.reallocated", moved, scope, {
    message: `was ${before.join(", ")} on network ${working.catalog.network(port.networkId).name}`,
    former: { mac: port.mac, addresses: before },
  });
  return moved;
}

const includes = (ips: readonly HeldIp[], { subnetId, offset }: HeldIp): boolean =>
  ips.some(other => other.subnetId === subnetId && other.offset === offset);
