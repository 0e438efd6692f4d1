import { isIP } from "node:net";
import { IpamError, type IpFamily, type Retention, type RetentionTime } from "../../../ipam-server/contract/index.ts";
import { parseRetentionTime, RETENTION_TIME_ACCEPTS } from "../../../ipam-server/process/retention-time.ts";
import { parseRetention, RETENTION_ACCEPTS } from "../../spec/retention.ts";
import type { Namespace, Pod } from "./pod.ts";

export const ANNOTATION_PREFIX = "mooring.dev/";

/** The values of the `mooring.dev/` annotations of a pod, or else of its namespace. */
export interface PodAnnotations {
  networkSelector?: string;
  ips?: string[];
  mac?: string;
  families?: IpFamily[];
  retention?: Retention;
  whenDeleted?: RetentionTime;
  whenScaled?: RetentionTime;
  portName?: string;
  portNameFrom?: string[];
  onMismatch?: "fail" | "reallocate";
}

interface Rule {
  field: keyof PodAnnotations;
  /** The accepted values, for error messages. */
  accepts: string;
  /** Rejected on a namespace, where all pods would get the same address. */
  podOnly?: boolean;
  /** Returns undefined if the value is not accepted. */
  parse(value: string): PodAnnotations[keyof PodAnnotations] | undefined;
}

const LABEL_KEY = /^(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;

const RULES: Record<string, Rule> = {
  "network-selector": {
    field: "networkSelector",
    accepts: 'a label selector such as "env=prod,tier in (web,api)"',
    // The IPAM validates the syntax; `findAnnotation` maps its error to this annotation.
    parse: value => (value.length <= 4096 ? value : undefined),
  },
  ip: {
    field: "ips",
    accepts: "an IP address, or one of each family: 10.0.0.5,fd00::5",
    podOnly: true,
    parse: parseIps,
  },
  mac: { field: "mac", accepts: "a unicast MAC address such as 0a:58:0a:00:00:05", podOnly: true, parse: parseMac },
  families: { field: "families", accepts: '"ipv4", "ipv6" or "ipv4,ipv6"', parse: parseFamilies },
  retain: { field: "retention", accepts: RETENTION_ACCEPTS, parse: parseRetention },
  "retain-when-deleted": { field: "whenDeleted", accepts: RETENTION_TIME_ACCEPTS, parse: parseRetentionTime },
  "retain-when-scaled": { field: "whenScaled", accepts: RETENTION_TIME_ACCEPTS, parse: parseRetentionTime },
  "port-name": {
    field: "portName",
    accepts: "the name of a reserved port: 1 to 253 characters of A-Z a-z 0-9 . _ : / @ -",
    podOnly: true,
    parse: value => (/^[A-Za-z0-9._:/@-]{1,253}$/.test(value) ? value : undefined),
  },
  "port-name-from": {
    field: "portNameFrom",
    accepts: 'keys of the pod\'s labels such as "app,shard"',
    parse: value => list(value, key => (LABEL_KEY.test(key) ? key : undefined)),
  },
  "on-mismatch": {
    field: "onMismatch",
    accepts: '"fail" or "reallocate"',
    parse: value => (value === "fail" || value === "reallocate" ? value : undefined),
  },
};

/**
 * Reads the annotations of a pod and its namespace; each one on the pod takes precedence. Throws IpamError
 * `invalid_request` for an invalid value, and for an unknown name, because a misspelt `retain` would lose an address.
 */
export function readAnnotations(pod: Pod, namespace: Namespace): PodAnnotations {
  const own = readAll(pod.annotations, `pod ${pod.namespace}/${pod.name}`, false);
  const inherited = readAll(namespace.annotations, `namespace ${namespace.name}`, true);
  if (own.portName !== undefined && own.portNameFrom !== undefined) {
    throw annotationError(
      "port-name",
      `and ${ANNOTATION_PREFIX}port-name-from stand on one pod`,
      "only one of the two",
    );
  }
  const { retention } = own;
  if (
    own.portName !== undefined &&
    retention &&
    (retention.policy !== "sticky" || retention.ttlSeconds !== undefined)
  ) {
    throw annotationError(
      "retain",
      "bounds how long a reserved port is kept",
      `"sticky", or no ${ANNOTATION_PREFIX}port-name`,
    );
  }
  // The pod's port-name overrides port-name-from of its namespace.
  if (own.portName !== undefined) delete inherited.portNameFrom;
  return { ...inherited, ...own };
}

const CLAIM_FIELDS: Record<string, string> = {
  networkSelector: "network-selector",
  ips: "ip",
  mac: "mac",
  families: "families",
  retention: "retain",
  whenDeleted: "retain-when-deleted",
  whenScaled: "retain-when-scaled",
  name: "port-name",
  onMismatch: "on-mismatch",
};

/**
 * Returns the annotation that set a claim's field (`claims[3].networkSelector`), for an error message:
 * `annotation mooring.dev/network-selector of namespace shop`. Undefined if no annotation set it.
 */
export function findAnnotation(field: string, pod: Pod, namespace: Namespace): string | undefined {
  const last = field.match(/([A-Za-z]+)(?:\[\d+\])?$/)?.[1] ?? "";
  const key = ANNOTATION_PREFIX + (CLAIM_FIELDS[last] ?? "");
  if (pod.annotations[key] !== undefined) return `annotation ${key} of pod ${pod.namespace}/${pod.name}`;
  if (namespace.annotations[key] !== undefined) return `annotation ${key} of namespace ${namespace.name}`;
  return undefined;
}

function readAll(annotations: Record<string, string>, place: string, isNamespace: boolean): PodAnnotations {
  const values: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(annotations)) {
    if (!key.startsWith(ANNOTATION_PREFIX)) continue;
    const name = key.slice(ANNOTATION_PREFIX.length);
    const rule = Object.hasOwn(RULES, name) ? RULES[name] : undefined;
    if (rule === undefined) {
      const known = Object.keys(RULES).map(each => ANNOTATION_PREFIX + each);
      throw annotationError(name, `of ${place} is not known`, known.join(", "));
    }
    if (isNamespace && rule.podOnly) throw annotationError(name, `stands on ${place}`, "a place on a pod only");
    const parsed = rule.parse(value.trim());
    if (parsed === undefined) throw annotationError(name, `of ${place} is ${JSON.stringify(value)}`, rule.accepts);
    values[rule.field] = parsed;
  }
  return values as PodAnnotations;
}

function parseIps(value: string): string[] | undefined {
  const ips = list(value, item => (isIP(item) === 0 || item.includes("%") ? undefined : item));
  return ips !== undefined && distinct(ips.map(ip => String(isIP(ip)))) ? ips : undefined;
}

function parseMac(value: string): string | undefined {
  const mac = value.toLowerCase();
  // The lowest bit of the first octet is the group bit (IEEE 802).
  const isUnicast = /^[0-9a-f][02468ace](?::[0-9a-f]{2}){5}$/.test(mac);
  return isUnicast && mac !== "00:00:00:00:00:00" ? mac : undefined;
}

function parseFamilies(value: string): IpFamily[] | undefined {
  return list(value, item => (item === "ipv4" || item === "ipv6" ? item : undefined));
}

/** Parses a comma-separated list. Spaces are allowed; empty and repeated items are not. */
function list<T extends string>(value: string, parse: (item: string) => T | undefined): T[] | undefined {
  const items: T[] = [];
  for (const part of value.split(",")) {
    const item = parse(part.trim());
    if (item === undefined) return undefined;
    items.push(item);
  }
  return distinct(items) ? items : undefined;
}

function distinct(items: string[]): boolean {
  return new Set(items).size === items.length;
}

function annotationError(name: string, what: string, accepts: string): IpamError {
  const annotation = ANNOTATION_PREFIX + name;
  return new IpamError("invalid_request", `Annotation ${annotation} ${what}; it takes ${accepts}`, {
    field: `metadata.annotations[${annotation}]`,
  });
}
