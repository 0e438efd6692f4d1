import { z } from "zod";
import { canonicalAddress } from "../../../domain/model/address.ts";
import { CLUSTER_NAME_ACCEPTS, parseClusterName } from "../../../process/cluster-name.ts";

/**
 * Schemas of single fields. The domain parses CIDRs, pools and selectors; these schemas only bound their length.
 * Messages complete `FIELD: VALUE ...`.
 */
const pattern = (regex: RegExp, error: string) => z.string().regex(regex, { error });

export const portName = pattern(
  /^(?!\.{1,2}$)[A-Za-z0-9._:/@-]{1,253}$/,
  "is not a port name: 1 to 253 characters of A-Z a-z 0-9 . _ : / @ -",
);

export const networkName = pattern(
  /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
  "is not a network name: 1 to 63 characters of A-Z a-z 0-9 . _ -, beginning and ending with a letter or digit",
);

export const clusterName = z
  .string()
  .refine(text => parseClusterName(text) !== undefined, { error: `is not ${CLUSTER_NAME_ACCEPTS}` });

/** Hosts, namespaces, zones, VPCs, physical networks, owners' uids. */
export const identifier = pattern(
  /^[A-Za-z0-9._:/@-]{1,253}$/,
  "is not an identifier: 1 to 253 characters of A-Z a-z 0-9 . _ : / @ -",
);

export const interfaceName = pattern(
  /^(?!\.{1,2}$)[^\s\p{Cc}/:]{1,15}$/u,
  "is not an interface name: 1 to 15 characters without spaces, control characters, / and :",
);

export const mac = pattern(
  /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i,
  "is not a unicast MAC address such as 0a:58:0a:64:01:05",
).overwrite(text => text.toLowerCase());

export const ip = z
  .string()
  .max(64)
  .refine(text => canonicalAddress(text) !== undefined, { error: "is not an IPv4 or IPv6 address" })
  .overwrite(text => canonicalAddress(text) ?? text);

/** Accepts any RFC 3339 time and returns UTC with milliseconds, so that times compare as text. */
export const timestamp = z.iso
  .datetime({ offset: true, error: "is not an RFC 3339 time such as 2026-11-20T08:00:00Z" })
  .overwrite(toCanonicalTime);

function toCanonicalTime(text: string): string {
  // Fast path: the forms of Kubernetes and of Mooring.
  if (text.length === 20 && text.endsWith("Z")) return `${text.slice(0, -1)}.000Z`;
  if (text.length === 24 && text.endsWith("Z")) return text;
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? text : new Date(ms).toISOString();
}

const labelKey = pattern(
  /^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
  "is not a label key: an optional DNS prefix and /, then 1 to 63 characters of A-Z a-z 0-9 . _ -",
);
const labelValue = pattern(
  /^([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/,
  "is not a label value: at most 63 characters of A-Z a-z 0-9 . _ -, beginning and ending with a letter or digit",
);
/** Records leave out one key that JSON can carry, without a word. Objects of known fields refuse it as any other. */
export const labels = z.preprocess(
  (value, { issues }) => {
    if (typeof value === "object" && value !== null && Object.hasOwn(value, "__proto__")) {
      const message = "has the key __proto__, which is not a label key";
      issues.push({ code: "custom", input: value, path: ["__proto__"], message });
    }
    return value;
  },
  z.record(labelKey, labelValue),
);

/** An interface name that becomes the last part of a port name. */
export const portInterfaceName = pattern(
  /^(?!\.{1,2}$)[A-Za-z0-9._@-]{1,15}$/,
  "is not an interface name that a port's name can end with: 1 to 15 characters of A-Z a-z 0-9 . _ @ -",
);

/** Text that the domain parses (selector, CIDR, range). */
export const syntax = z.string().max(4096);
/** Text for people. NUL is replaced, because PostgreSQL cannot store it. */
export const message = z
  .string()
  .max(4096)
  .overwrite(text => text.replaceAll("\0", "\ufffd"));
export const family = z.enum(["ipv4", "ipv6"]);
export const families = z.array(family).min(1).max(2);
export const ips = z.array(ip).max(2);
export const limit = z.int().min(1).max(1000);
