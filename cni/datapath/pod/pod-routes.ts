import type { Attachment, Route } from "../attachment.ts";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import { parseCidr, parseIp } from "../kernel/ip-bytes.ts";
import { addRoute, fetchRoutes, type LinkRoute, RT_TABLE_MAIN } from "../netlink/route.ts";
import type { RouteSocket } from "../netlink/socket.ts";
import { deriveOwnRoutes, deriveTable, setRules } from "./own-table.ts";
import { explain } from "./pod-interface.ts";

/**
 * Adds the routes in order, so that a gateway outside the subnet can have its on-link route first; those of a further
 * interface also to its own table, with rules for its addresses. Resolves with the routes as `findRoutes` does.
 */
export async function addRoutes(
  socket: RouteSocket,
  linkIndex: number,
  attachment: Attachment,
  deadline: Deadline,
): Promise<Route[]> {
  const { addresses, containerInterface, netns } = attachment;
  let isComplete = true;
  for (const route of deriveRoutes(attachment)) {
    const { dst, gw, table } = route;
    const via = `${gw === undefined ? "" : ` via ${gw}`}${table === undefined ? "" : ` to table ${table}`}`;
    const added = addRoute(socket, toLinkRoute(route, linkIndex), deadline);
    isComplete = (await explain("configure", `cannot add the route ${dst}${via} in ${netns}`, added)) && isComplete;
  }
  const table = deriveTable(containerInterface);
  if (table !== undefined) {
    const what = `cannot add the rules of ${containerInterface} in ${netns}`;
    await explain("configure", what, setRules(socket, table, addresses, deadline));
  }
  return isComplete ? listRoutes(attachment) : findRoutes(attachment, linkIndex, await fetchRoutes(socket, deadline));
}

/** Returns the attachment's routes that exist by its link, because one of another interface may have come first. */
export function findRoutes(attachment: Attachment, linkIndex: number, present: readonly LinkRoute[]): Route[] {
  return listRoutes(attachment).filter(route => {
    const { bytes, prefixLength, gateway, table } = toLinkRoute(route, linkIndex);
    return present.some(
      found =>
        found.linkIndex === linkIndex &&
        found.table === table &&
        found.prefixLength === prefixLength &&
        found.bytes.equals(bytes) &&
        (gateway === undefined ? found.gateway === undefined : found.gateway?.equals(gateway)),
    );
  });
}

/** Leaves out the routes of another interface, which keep ours from being added. */
export function filterAddable(routes: readonly Route[], linkIndex: number, present: readonly LinkRoute[]): Route[] {
  return routes.filter(route => {
    const { bytes, prefixLength } = toLinkRoute(route, linkIndex);
    const found = present.filter(each => each.prefixLength === prefixLength && each.bytes.equals(bytes));
    return found.length === 0 || found.some(each => each.linkIndex === linkIndex);
  });
}

function deriveRoutes(attachment: Attachment): Route[] {
  const table = deriveTable(attachment.containerInterface);
  const own = table === undefined ? [] : deriveOwnRoutes(attachment).map(route => ({ ...route, table }));
  return [...attachment.routes, ...own];
}

/** Those that a CNI result lists: without the routes to the subnets, which follow from the addresses. */
function listRoutes(attachment: Attachment): Route[] {
  const subnets = attachment.addresses.map(({ address, prefixLength }) => `${address}/${prefixLength}`);
  return deriveRoutes(attachment).filter(({ dst, table }) => table === undefined || !subnets.includes(dst));
}

function toLinkRoute({ dst, gw, table = RT_TABLE_MAIN }: Route, linkIndex: number): LinkRoute {
  const destination = parseCidr(dst);
  const gateway = gw === undefined ? undefined : parseIp(gw);
  if (destination === undefined) throw new DatapathError("configure", `route ${JSON.stringify(dst)} is not a CIDR`);
  if (gw !== undefined && gateway?.length !== destination.bytes.length) {
    throw new DatapathError("configure", `route ${dst}: ${JSON.stringify(gw)} is not a gateway of its family`);
  }
  return { linkIndex, ...destination, gateway, table };
}
