import { type EventQuery, IpamError, type PlaneState, type PortQuery } from "../contract/index.ts";
import { parseAddress } from "../domain/model/address.ts";
import type { Catalog } from "../domain/model/catalog.ts";
import { locate } from "../domain/model/needs.ts";
import type { HeldIp } from "../domain/model/port-record.ts";
import { matches, type Selector } from "../domain/model/selector.ts";
import { type PortRow, parseColumn } from "./port-rows.ts";

const STATES = "bound, unbound, or a pair of DOWN, BUILD, ACTIVE and ERROR such as ACTIVE_ACTIVE";
const STATE_PAIR = /^(DOWN|BUILD|ACTIVE|ERROR)_(DOWN|BUILD|ACTIVE|ERROR)$/;

type PortState = { isBound: boolean } | { underlay: PlaneState; overlay: PlaneState };

/** Throws `invalid_request` that names the states. */
export function parsePortState(state: string): PortState {
  if (state === "bound" || state === "unbound") return { isBound: state === "bound" };
  const [, underlay, overlay] = STATE_PAIR.exec(state) ?? [];
  if (underlay === undefined || overlay === undefined) {
    throw new IpamError("invalid_request", `state is ${JSON.stringify(state)}; expected ${STATES}`, { field: "state" });
  }
  return { underlay: underlay as PlaneState, overlay: overlay as PlaneState };
}

/** Where the address lies in the networks' subnets. Throws `invalid_request` if it is not an address. */
export function locateAddress(ip: string, catalog: Catalog): HeldIp[] {
  if (!parseAddress(ip)) {
    throw new IpamError("invalid_request", `ip is ${JSON.stringify(ip)}; expected an address such as 10.0.0.7`, {
      field: "ip",
    });
  }
  return locate(ip, catalog);
}

/** True if no index leads to few rows, so that all ports are scanned, MAX_SCANNED for a page. */
export const isScan = ({ name, mac, ip, host }: PortQuery): boolean =>
  name === undefined && mac === undefined && ip === undefined && host === undefined;

/** The id of the network of that name; -1, which no port has, if there is none. */
export const networkIdOf = (name: string, { networks }: Catalog): number =>
  networks.find(network => network.name === name)?.id ?? -1;

/** True if there is no selector. */
export function hasLabels(row: readonly [...PortRow, ...unknown[]], selector: Selector | undefined): boolean {
  const labels = row[5];
  return !selector || matches(selector, labels === null ? {} : parseColumn(labels));
}

export const portNotFound = (name: string): IpamError => new IpamError("not_found", `there is no port ${name}`);

export type PortIdentity = Pick<PortQuery, "name" | "ip" | "mac">;

/** Which ports an event query names. */
export function identityOf({ port, ip, mac }: EventQuery): PortIdentity {
  return {
    ...(port !== undefined && { name: port }),
    ...(ip !== undefined && { ip }),
    ...(mac !== undefined && { mac }),
  };
}
