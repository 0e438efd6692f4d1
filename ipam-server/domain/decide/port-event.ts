import type { EventType } from "../../contract/index.ts";
import { type PortRecord, stateOf } from "../model/port-record.ts";
import type { NewEvent } from "../model/snapshot.ts";
import type { DecisionScope } from "./decision-scope.ts";

/** Adds an event with the port's complete state after the change. */
export function emitPortEvent(
  type: EventType,
  port: PortRecord,
  { working, caller }: DecisionScope,
  more: Partial<NewEvent> = {},
): void {
  const { binding, owner } = port;
  const event: NewEvent = {
    type,
    caller,
    portKey: port.key,
    port: port.name,
    portId: port.id,
    network: working.catalog.network(port.networkId).name,
    epoch: port.epoch,
    mac: port.mac,
    addresses: working.addressTexts(port.fixedIps),
    state: stateOf(port),
  };
  if (port.cluster !== undefined) event.cluster = port.cluster;
  if (binding) event.host = binding.host;
  if (binding?.sandbox) event.sandboxId = binding.sandbox.id;
  if (binding && owner) event.ownerUid = owner.uid;
  working.events.push(Object.assign(event, more));
}
