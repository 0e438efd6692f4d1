import {
  IpamError,
  type NetworkManifest,
  type NetworkSpec,
  type NodeLease,
  type Segment,
} from "../../contract/index.ts";
import { toWorkloadRetention } from "../clusters/workload-retention.ts";
import { type Cidr, overlaps, parseCidr, rangeOf } from "../model/address.ts";
import type { NetworkDeclaration } from "../model/catalog.ts";
import { validateLabels } from "../model/labels.ts";
import { segmentKey } from "./cooling.ts";
import { fail, parseSubnet } from "./parse-subnet.ts";

const DNS_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const DNS_LABEL_RULE = "1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit";
const PHYSICAL_NETWORK = /^[A-Za-z0-9_.-]{1,64}$/;
/** Special-purpose addresses (RFC 6890) that no pod can be reached at. */
const SPECIAL = [
  special("0.0.0.0/8", '"this network"'),
  special("127.0.0.0/8", "the loopback"),
  special("169.254.0.0/16", "link-local"),
  special("::/8", "reserved, and has the loopback and the mapped IPv4 addresses"),
  special("fe80::/10", "link-local"),
];
const MIN_MTU = { 4: 68, 6: 1280 } as const;
const MAX_MTU = 65_535;

/** Validates a manifest against the rules and the other networks. Throws IpamError with the field. Pure. */
export function validateNetwork(
  manifest: NetworkManifest,
  networks: readonly NetworkDeclaration[],
): NetworkDeclaration {
  const { metadata, spec } = manifest;
  if (!DNS_LABEL.test(metadata.name)) fail("metadata.name", metadata.name, DNS_LABEL_RULE);
  validateLabels(metadata.labels ?? {}, "metadata.labels");
  const vpc = spec.vpc ?? "default";
  if (!DNS_LABEL.test(vpc)) fail("spec.vpc", vpc, DNS_LABEL_RULE);
  if (spec.availabilityZone !== undefined && !PHYSICAL_NETWORK.test(spec.availabilityZone)) {
    fail("spec.availabilityZone", spec.availabilityZone, "1 to 64 letters, digits, dots, hyphens and underscores");
  }
  const declaration: NetworkDeclaration = {
    name: metadata.name,
    labels: metadata.labels ?? {},
    vpc,
    availabilityZone: spec.availabilityZone,
    segment: parseSegment(spec.segment),
    mtu: spec.mtu ?? 0,
    nodeLease: spec.nodeLease && parseNodeLease(spec.nodeLease),
    retention: spec.retention && toWorkloadRetention(spec.retention),
    subnets: (spec.subnets ?? []).map((subnet, index) => parseSubnet(subnet, `spec.subnets[${index}]`)),
  };
  assertNotSpecial(declaration);
  validateMtu(declaration);
  const others = networks.filter(({ name }) => name !== declaration.name);
  assertOwnSegment(declaration, others);
  assertNoOverlaps(declaration, others);
  return declaration;
}

const MAX_LEASE = 256;

function parseNodeLease({ size, low = Math.ceil(size / 4) }: NonNullable<NetworkSpec["nodeLease"]>): NodeLease {
  const isWithin = (value: number, most: number) => Number.isInteger(value) && value >= 1 && value <= most;
  if (!isWithin(size, MAX_LEASE)) fail("spec.nodeLease.size", size, `a whole number from 1 to ${MAX_LEASE}`);
  if (!isWithin(low, size)) fail("spec.nodeLease.low", low, `a whole number from 1 to the size, ${size}`);
  return { size, low };
}

function parseSegment(segment: Segment): Segment {
  const { type, physicalNetwork } = segment;
  if (!PHYSICAL_NETWORK.test(physicalNetwork)) {
    fail(
      "spec.segment.physicalNetwork",
      physicalNetwork,
      "a name such as physnet1 (letters, digits, dots, hyphens, underscores)",
    );
  }
  if (type === "flat") return { type, physicalNetwork };
  if (!Number.isInteger(segment.id) || segment.id < 1 || segment.id > 4094) {
    fail("spec.segment.id", segment.id, "a VLAN id from 1 to 4094");
  }
  return { type, id: segment.id, physicalNetwork };
}

function special(text: string, why: string): { cidr: Cidr; why: string } {
  const cidr = parseCidr(text);
  if (!cidr || "meant" in cidr) throw new Error(`${text} is no CIDR`);
  return { cidr, why };
}

function assertNotSpecial({ subnets }: NetworkDeclaration): void {
  for (const [index, { cidr }] of subnets.entries()) {
    const barred = SPECIAL.find(
      other => other.cidr.version === cidr.version && overlaps(rangeOf(other.cidr), rangeOf(cidr)),
    );
    if (!barred) continue;
    fail(
      `spec.subnets[${index}].cidr`,
      cidr.text,
      `addresses that pods can have: ${barred.cidr.text} is ${barred.why}`,
    );
  }
}

function validateMtu({ mtu, subnets }: NetworkDeclaration): void {
  if (mtu === 0) return;
  const least = Math.max(MIN_MTU[4], ...subnets.map(({ cidr }) => MIN_MTU[cidr.version]));
  if (Number.isInteger(mtu) && mtu >= least && mtu <= MAX_MTU) return;
  const why = least === MIN_MTU[6] ? " (IPv6 needs at least 1280)" : "";
  fail("spec.mtu", mtu, `${least} to ${MAX_MTU} bytes${why}, or 0 for the least of each host's uplinks`);
}

function assertOwnSegment({ segment }: NetworkDeclaration, others: readonly NetworkDeclaration[]): void {
  const other = others.find(candidate => segmentKey(candidate.segment) === segmentKey(segment));
  if (!other) return;
  const what = segment.type === "vlan" ? `VLAN id ${segment.id}` : "the untagged segment";
  throw new IpamError(
    "conflict",
    `spec.segment is ${what} on physical network ${segment.physicalNetwork}, which network ${other.name} uses; expected an unused one`,
    { field: "spec.segment" },
  );
}

function assertNoOverlaps({ name, vpc, subnets }: NetworkDeclaration, others: readonly NetworkDeclaration[]): void {
  const taken = others
    .filter(other => other.vpc === vpc)
    .flatMap(other => other.subnets.map(({ cidr }) => ({ cidr, network: other.name })));
  subnets.forEach(({ cidr }, index) => {
    const field = `spec.subnets[${index}].cidr`;
    const other = taken.find(t => t.cidr.version === cidr.version && overlaps(rangeOf(t.cidr), rangeOf(cidr)));
    if (other) {
      const where =
        other.network === name ? "of the same network" : `of network ${other.network} in the same VPC (${vpc})`;
      throw new IpamError(
        other.network === name ? "invalid_request" : "conflict",
        `${field} is "${cidr.text}", which overlaps ${other.cidr.text} ${where}; expected a CIDR that overlaps none`,
        { field },
      );
    }
    taken.push({ cidr, network: name });
  });
}
