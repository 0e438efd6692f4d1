import type { EventType } from "../../contract/index.ts";
import { type PortRecord, stateOf } from "../model/port-record.ts";
import type { NewEvent } from "../model/snapshot.ts";
import { addressTexts } from "./allocate.ts";
import type { WorkingState } from "./working-state.ts";

/** An event that says all about the port as it is after the change. */
export function emitPortEvent(
  working: WorkingState,
  type: EventType,
  port: PortRecord,
  caller: string,
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
    addresses: addressTexts(port.fixedIps, working),
    state: stateOf(port),
  };
  if (port.cluster !== undefined) event.cluster = port.cluster;
  if (binding) event.host = binding.host;
  if (binding?.sandbox) event.sandboxId = binding.sandbox.id;
  if (binding && owner) event.ownerUid = owner.uid;
  working.events.push(Object.assign(event, more));
}
