import {
  EXTERNAL_IDS,
  type ExternalIds,
  formatRecoveryIds,
  formatSandboxIds,
  type SandboxIds,
} from "../external-ids.ts";
import type { Attachment, Difference, ExpectedAttachment } from "./attachment.ts";
import { deriveAlias } from "./interface-name.ts";
import { formatIp, parseCidr, parseIp } from "./kernel/ip-bytes.ts";
import type { ObservedState, PodState } from "./observed-state.ts";
import { formatAccess, isAccessPort, type OvsPort } from "./ovsdb/ports.ts";
import { tableDifferences } from "./pod/own-table.ts";

/** The netns path is unknown after OVSDB was lost, and earlier versions recorded no physical network. */
const MAY_BE_ABSENT: ReadonlySet<string> = new Set([EXTERNAL_IDS.netns, EXTERNAL_IDS.physicalNetwork]);

type Identified = Pick<Attachment, "externalIds" | "sandboxId" | "mac" | "addresses" | "vlan"> & { netns?: string };

/** Compares the attachment with the observed state; pure. Empty if a plug would change nothing. */
export function findDifferences(attachment: ExpectedAttachment, snapshot: ObservedState): Difference[] {
  return [
    ...hostDifferences(attachment, snapshot),
    ...ovsDifferences(attachment, snapshot),
    ...podDifferences(attachment, snapshot),
  ];
}

/** Differences of `external_ids`, which can be corrected without replugging. */
export function findIdDifferences(attachment: Identified & SandboxIds, snapshot: ObservedState): Difference[] {
  const found = snapshot.ovs.interfaces[0]?.externalIds;
  if (found === undefined) return [];
  return Object.entries({ ...deriveExternalIds(attachment), ...formatSandboxIds(attachment) })
    .filter(([key, value]) => found[key] !== value && !(MAY_BE_ABSENT.has(key) && found[key] === undefined))
    .map(([key, value]) => ({ what: `external_ids:${key}`, expected: value, found: found[key] ?? "nothing" }));
}

export function deriveExternalIds({ externalIds, sandboxId, addresses, vlan = 0, ...ids }: Identified): ExternalIds {
  const recovery = { ...ids, vlan, addresses: addresses.map(({ address }) => address) };
  return { ...formatRecoveryIds(recovery, externalIds[EXTERNAL_IDS.port] ?? sandboxId), ...externalIds };
}

function hostDifferences(attachment: ExpectedAttachment, { hostLink, pod }: ObservedState): Difference[] {
  if (hostLink === undefined) return [{ what: "host interface", expected: "a veth", found: "nothing" }];
  const { hostMtu = attachment.mtu ?? 0, isSilent } = attachment;
  const alias = deriveAlias(attachment.sandboxId, attachment.containerInterface);
  return [
    ...differ(`alias of ${hostLink.name}`, alias, hostLink.alias ?? "nothing"),
    ...differ(`state of ${hostLink.name}`, isSilent ? "down" : "up", hostLink.up ? "up" : "down"),
    ...(hostMtu > 0 ? differ(`MTU of ${hostLink.name}`, hostMtu, hostLink.mtu ?? 0) : []),
    ...(pod ? differ(`other end of ${hostLink.name}`, pod.link.index, hostLink.peerIndex ?? 0) : []),
  ];
}

function ovsDifferences(attachment: ExpectedAttachment, { ovs, actualBridge, hostLink }: ObservedState): Difference[] {
  const [port, ...morePorts] = ovs.ports;
  const [row] = ovs.interfaces;
  if (attachment.isSilent) {
    return ovs.ports.map(({ name }) => ({ what: "OVS port", expected: "none", found: name }));
  }
  const expected = `a port on ${attachment.bridge}`;
  if (port === undefined || row === undefined) return [{ what: "OVS port", expected, found: "nothing" }];
  if (morePorts.length > 0) return [{ what: "OVS port", expected: "one", found: `${ovs.ports.length}` }];
  const ofport = row.error || (row.ofport === undefined ? "none" : String(row.ofport));
  return [
    ...differ(`bridge of ${port.name}`, attachment.bridge, actualBridge ?? "none"),
    ...findAccessDifferences(port, attachment.vlan ?? 0),
    ...(hostLink ? differ("name of the OVS port", hostLink.name, port.name) : []),
    ...(row.error || (row.ofport ?? -1) <= 0
      ? [{ what: `ofport of ${port.name}`, expected: "a number", found: ofport }]
      : []),
  ];
}

/** Any difference lets the pod receive or send frames of a VLAN that is not its own. */
export function findAccessDifferences(port: OvsPort, vlan: number): Difference[] {
  if (isAccessPort(port, vlan)) return [];
  const expected = formatAccess({ tag: vlan, mode: "access", trunks: [] });
  return [{ what: `VLAN of ${port.name}`, expected, found: formatAccess(port.access) }];
}

function podDifferences(attachment: ExpectedAttachment, { hostLink, pod }: ObservedState): Difference[] {
  // Without the host's end no interface in the pod can be ours, because a veth's ends are deleted together.
  if (hostLink === undefined) return [];
  const { containerInterface: name, mac, mtu = 0 } = attachment;
  if (pod === undefined) return [{ what: `${name} in the pod`, expected: "a veth", found: "nothing" }];
  return [
    ...(mac === undefined ? [] : differ(`MAC of ${name}`, mac.toLowerCase(), pod.link.mac ?? "none")),
    ...(mtu > 0 ? differ(`MTU of ${name}`, mtu, pod.link.mtu ?? 0) : []),
    ...differ(`state of ${name}`, "up", pod.link.up ? "up" : "down"),
    ...addressDifferences(attachment, pod),
    ...routeDifferences(attachment, pod),
    ...tableDifferences(attachment, pod),
  ];
}

function addressDifferences({ addresses, containerInterface }: ExpectedAttachment, pod: PodState): Difference[] {
  const present = new Map(pod.addresses.map(found => [`${formatIp(found.bytes)}/${found.prefixLength}`, found]));
  return addresses.flatMap(({ address, prefixLength }) => {
    const found = present.get(`${formatIp(parseIp(address) ?? Buffer.alloc(0))}/${prefixLength}`);
    if (found && !found.duplicate) return [];
    const what = `address on ${containerInterface}`;
    return [
      { what, expected: `${address}/${prefixLength}`, found: found ? "a duplicate of another host's" : "nothing" },
    ];
  });
}

/**
 * Accepts the route in any table, because `sbr` moves routes to tables of their own, and by any interface, because the result
 * lists other plugins' routes too. A route without a gateway may have any: CNI leaves the choice to the plugin.
 */
function routeDifferences({ routes }: ExpectedAttachment, pod: PodState): Difference[] {
  return routes.flatMap(({ dst, gw }) => {
    const wanted = parseCidr(dst);
    const found = pod.routes.filter(
      ({ bytes, prefixLength }) => wanted?.bytes.equals(bytes) && wanted.prefixLength === prefixLength,
    );
    const gateway = gw === undefined ? undefined : parseIp(gw);
    if (found.some(route => gateway === undefined || route.gateway?.equals(gateway))) return [];
    const wrong = found.map(route => (route.gateway ? `${dst} via ${formatIp(route.gateway)}` : dst)).join(", ");
    const expected = gw === undefined ? dst : `${dst} via ${gw}`;
    return [{ what: "route in the pod", expected, found: wrong || "nothing" }];
  });
}

function differ(what: string, expected: string | number, found: string | number): Difference[] {
  return expected === found ? [] : [{ what, expected: String(expected), found: String(found) }];
}
