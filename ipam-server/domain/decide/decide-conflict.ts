import { type AddressConflict, IpamError } from "../../contract/index.ts";
import { canonicalAddress } from "../model/address.ts";
import { addressAt } from "../model/catalog.ts";
import { parseMac } from "../model/mac.ts";
import type { Item, OutcomeByKind } from "../model/mutation.ts";
import { locate } from "../model/needs.ts";
import type { HeldIp, PortRecord } from "../model/port-record.ts";
import type { DecisionScope } from "./decision-scope.ts";
import { emitPortEvent } from "./port-event.ts";

interface FoundConflict {
  ip: HeldIp;
  address: string;
  mac: string;
}

/** The port's address that another machine answers for. Throws `invalid_request` if the port does not have it. */
export function findConflict(port: PortRecord, { address, mac }: AddressConflict, scope: DecisionScope): FoundConflict {
  const text = canonicalAddress(address);
  const held = scope.working.addressTexts(port.fixedIps);
  const ip = port.fixedIps[held.indexOf(text ?? "")];
  if (ip === undefined || text === undefined) {
    throw new IpamError(
      "invalid_request",
      `conflict.address is ${JSON.stringify(address)}; expected an address of port ${port.name}: ${held.join(", ")}`,
      { field: "conflict.address" },
    );
  }
  return { ip, address: text, mac: parseMac(mac, "conflict.mac") };
}

/** Marks the address if the port gave it up, and emits the event in either case. */
export function reportConflict(
  port: PortRecord,
  { ip, address, mac }: FoundConflict,
  { host, isFree }: { host: string; isFree: boolean },
  scope: DecisionScope,
): void {
  if (isFree) scope.working.markConflict(ip, { mac, host });
  const kept = isFree ? "" : `; port ${port.name} keeps it`;
  emitPortEvent("address.conflict", port, scope, {
    ...{ host, mac, addresses: [address] },
    message: `${mac} answers for ${address}${kept}`,
  });
}

/** Lets an address be assigned again, after the reuse delay and a probe. */
export function decideClearConflict(
  { address, network, caller }: Extract<Item, { kind: "clearConflict" }>,
  { working, context }: DecisionScope,
): OutcomeByKind["clearConflict"] {
  const marked = locate(address, working.catalog).flatMap(ip => {
    const subnet = working.catalog.subnet(ip.subnetId);
    const { name } = working.catalog.network(subnet.networkId);
    const state = working.address(ip);
    const conflict = state && "freedAt" in state ? state.conflict : undefined;
    return conflict && name === (network ?? name) ? [{ ip, subnet, name, conflict }] : [];
  });
  const [first, ...others] = marked;
  if (!first) {
    const where = network === undefined ? "" : ` on network ${network}`;
    throw new IpamError(
      "not_found",
      `no conflict is known of ${address}${where}; \`mooringctl get conflicts\` lists all`,
    );
  }
  if (others.length > 0) {
    const names = marked.map(({ name }) => name).join(" and ");
    throw new IpamError("conflict", `${address} has a conflict on networks ${names}; name one`, { field: "network" });
  }
  const { ip, subnet, name, conflict } = first;
  working.clearConflict(ip, context.now);
  const text = addressAt(subnet, ip.offset);
  const message = `${conflict.mac} answered for it to host ${conflict.host}`;
  working.events.push({
    type: "address.cleared",
    caller,
    network: name,
    mac: conflict.mac,
    addresses: [text],
    message,
  });
  return { cleared: true };
}
