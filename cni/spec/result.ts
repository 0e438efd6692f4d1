import type { Dns } from "../../ipam-server/contract/index.ts";
import { asArray, asInteger, asObject, asText, asTexts, invalidKey, type JsonObject } from "./shape.ts";
import { type CniVersion, isAtLeast } from "./versions.ts";

/** ADD's result in the shape of spec 1.1; `formatResult` converts it to the caller's version. */
export interface CniResult {
  interfaces: ResultInterface[];
  ips: ResultIp[];
  routes: ResultRoute[];
  dns: Dns;
}

interface ResultInterface {
  name: string;
  mac?: string;
  /** Bytes; since 1.1.0. */
  mtu?: number;
  /** Path of the netns; absent on host interfaces. */
  sandbox?: string;
  /** Since 1.1.0; only copied from an earlier plugin's result. */
  socketPath?: string;
  pciID?: string;
}

interface ResultIp {
  /** CIDR notation. */
  address: string;
  gateway?: string;
  /** Index into `interfaces`. */
  interface?: number;
}

interface ResultRoute {
  dst: string;
  gw?: string;
  /** mtu, advmss, priority, table, scope: since 1.1.0; only copied from an earlier plugin's result. */
  [extra: string]: unknown;
}

/** Parses `prevResult` of any supported version. */
export function parseResult(value: unknown, key = "prevResult"): CniResult {
  const raw = asObject(value, key);
  const interfaces = list(raw, "interfaces", key).map(([item, at]) => parseInterface(asObject(item, at), at));
  const ips = list(raw, "ips", key).map(([item, at]) => parseIp(asObject(item, at), at, interfaces.length));
  const routes = list(raw, "routes", key).map(([item, at]): ResultRoute => {
    const route = asObject(item, at);
    return { ...route, dst: asText(route.dst, `${at}.dst`) };
  });
  return { interfaces, ips, routes, dns: raw.dns === undefined ? {} : parseDns(raw.dns, `${key}.dns`) };
}

export function parseDns(value: unknown, key: string): Dns {
  const raw = asObject(value, key);
  const texts = (field: string) => asTexts(raw[field], `${key}.${field}`);
  return {
    ...(raw.nameservers != null && { nameservers: texts("nameservers") }),
    ...(raw.domain != null && raw.domain !== "" && { domain: asText(raw.domain, `${key}.domain`) }),
    ...(raw.search != null && { search: texts("search") }),
    ...(raw.options != null && { options: texts("options") }),
  };
}

/** Appends our result to an earlier plugin's and shifts our interface indexes past theirs. */
export function appendResult(previous: CniResult, own: CniResult): CniResult {
  const shift = previous.interfaces.length;
  return {
    interfaces: [...previous.interfaces, ...own.interfaces],
    ips: [
      ...previous.ips,
      ...own.ips.map(ip => (ip.interface === undefined ? ip : { ...ip, interface: ip.interface + shift })),
    ],
    routes: [...previous.routes, ...own.routes],
    dns: Object.keys(own.dns).length > 0 ? own.dns : previous.dns,
  };
}

/** RT_TABLE_MAIN of linux/rtnetlink.h. */
const MAIN_TABLE = 254;

/** Before 1.0.0 an address carries `version`; since 1.1.0 interfaces and routes carry details. */
export function formatResult(result: CniResult, cniVersion: CniVersion): string {
  const withFamily = !isAtLeast(cniVersion, "1.0.0");
  const withDetails = isAtLeast(cniVersion, "1.1.0");
  return JSON.stringify({
    cniVersion,
    interfaces: result.interfaces.map(({ mtu, socketPath, pciID, ...base }) =>
      withDetails
        ? {
            ...base,
            ...(mtu !== undefined && { mtu }),
            ...(socketPath !== undefined && { socketPath }),
            ...(pciID !== undefined && { pciID }),
          }
        : base,
    ),
    ips: result.ips.map(ip => (withFamily ? { version: ip.address.includes(":") ? "6" : "4", ...ip } : ip)),
    // Without details a route of another table would pass for one of the main table.
    routes: withDetails
      ? result.routes
      : result.routes
          .filter(({ table }) => table === undefined || table === MAIN_TABLE)
          .map(({ dst, gw }) => ({ dst, ...(gw !== undefined && { gw }) })),
    dns: result.dns,
  });
}

function parseInterface(raw: JsonObject, key: string): ResultInterface {
  const text = (field: "mac" | "sandbox" | "socketPath" | "pciID") =>
    raw[field] == null || raw[field] === "" ? {} : { [field]: asText(raw[field], `${key}.${field}`) };
  return {
    name: asText(raw.name, `${key}.name`),
    ...text("mac"),
    ...(raw.mtu != null && { mtu: asInteger(raw.mtu, `${key}.mtu`, 0, 0xffff_ffff) }),
    ...text("sandbox"),
    ...text("socketPath"),
    ...text("pciID"),
  };
}

function parseIp(raw: JsonObject, key: string, interfaces: number): ResultIp {
  return {
    address: asText(raw.address, `${key}.address`),
    ...(raw.gateway != null && raw.gateway !== "" && { gateway: asText(raw.gateway, `${key}.gateway`) }),
    ...(raw.interface != null && { interface: parseIndex(raw.interface, `${key}.interface`, interfaces) }),
  };
}

function parseIndex(value: unknown, key: string, length: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < length) return value;
  throw invalidKey(key, "an index into its interfaces", value);
}

function list(raw: JsonObject, field: string, key: string): [unknown, string][] {
  const value = raw[field];
  if (value === undefined || value === null) return [];
  return asArray(value, `${key}.${field}`).map((item, index) => [item, `${key}.${field}[${index}]`]);
}
