import { createHash } from "node:crypto";
import type { Attachment, Difference, Route } from "../attachment.ts";
import type { Deadline } from "../deadline.ts";
import { formatIp, parseCidr, parseIp } from "../kernel/ip-bytes.ts";
import type { Netns } from "../kernel/netns.ts";
import type { LinkRoute } from "../netlink/route.ts";
import { addRule, deleteRule, fetchRules, type SourceRule } from "../netlink/rule.ts";
import { RouteSocket } from "../netlink/socket.ts";

/** A pod's first interface by the runtimes' convention, which has the main table. */
const FIRST_INTERFACE = "eth0";

type Routed = Pick<Attachment, "containerInterface" | "addresses">;

/**
 * Returns the routing table of a further interface, so that what comes in by it is answered through it; undefined for the
 * first interface. Derived from the name, so that every later call knows it.
 */
export function deriveTable(containerInterface: string): number | undefined {
  if (containerInterface === FIRST_INTERFACE) return undefined;
  const hash = createHash("sha256").update(containerInterface).digest();
  // Above the tables that people and other plugins number by hand.
  return 0x1000000 + hash.readUIntBE(0, 3);
}

/** Returns the routes of the own table: subnets, the attachment's routes, and a default route by each subnet's gateway. */
export function deriveOwnRoutes({ addresses, routes }: Pick<Attachment, "addresses" | "routes">): Route[] {
  const subnets = addresses.map(({ address, prefixLength }) => ({ dst: `${address}/${prefixLength}` }));
  const all = [...subnets, ...routes, ...addresses.flatMap(deriveDefault)];
  return all.filter(({ dst }, index) => all.findIndex(other => other.dst === dst) === index);
}

/** Empty without a gateway, and for the gateway itself. */
function deriveDefault({ address, gateway: gw }: Attachment["addresses"][number]): Route[] {
  return gw === undefined || gw === address ? [] : [{ dst: address.includes(":") ? "::/0" : "0.0.0.0/0", gw }];
}

/** Replaces the rules of the table, which outlive the routes of a link that is gone. */
export async function setRules(
  socket: RouteSocket,
  table: number,
  addresses: Attachment["addresses"],
  deadline: Deadline,
): Promise<void> {
  await removeRules(socket, table, deadline);
  for (const bytes of addresses.map(({ address }) => parseIp(address))) {
    if (bytes !== undefined) await addRule(socket, { bytes, table }, deadline);
  }
}

async function removeRules(socket: RouteSocket, table: number, deadline: Deadline): Promise<void> {
  for (const rule of await fetchRules(socket, deadline)) {
    if (rule.table === table) await deleteRule(socket, rule, deadline);
  }
}

/** Removes the rules of a further interface from its pod; no other state of a plug outlives the link. */
export async function removePodRules(netns: Netns, containerInterface: string, deadline: Deadline): Promise<void> {
  const table = deriveTable(containerInterface);
  if (table === undefined) return;
  await using socket = await RouteSocket.open(netns);
  await removeRules(socket, table, deadline);
}

/** Finds what is missing of rules and table. An interface without either was plugged before they existed. */
export function tableDifferences(
  { containerInterface, addresses }: Routed,
  { routes, rules }: { routes: readonly LinkRoute[]; rules: readonly SourceRule[] },
): Difference[] {
  const table = deriveTable(containerInterface);
  const own = routes.filter(route => route.table === table);
  const ruled = new Set(rules.filter(rule => rule.table === table).map(({ bytes }) => formatIp(bytes)));
  if (table === undefined || (own.length === 0 && ruled.size === 0)) return [];
  const present = new Set(own.map(({ bytes, prefixLength }) => `${formatIp(bytes)}/${prefixLength}`));
  return addresses.flatMap(each => {
    const { address, prefixLength } = each;
    const wanted = [`${address}/${prefixLength}`, ...deriveDefault(each).map(({ dst }) => dst)];
    const missing = wanted.filter(dst => {
      const cidr = parseCidr(dst);
      return cidr === undefined || !present.has(`${formatIp(cidr.bytes)}/${cidr.prefixLength}`);
    });
    const bytes = parseIp(address);
    const isRuled = bytes !== undefined && ruled.has(formatIp(bytes));
    return [
      ...missing.map(dst => ({ what: `route in table ${table} of the pod`, expected: dst, found: "nothing" })),
      ...(isRuled ? [] : [{ what: "rule in the pod", expected: `from ${address} lookup ${table}`, found: "nothing" }]),
    ];
  });
}
