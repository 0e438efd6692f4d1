import { isIP } from "node:net";
import type { Labels } from "../../ipam-server/contract/index.ts";
import type { CniError } from "./cni-error.ts";
import { asArray, asObject, asText, asTexts, invalidKey, type JsonObject } from "./shape.ts";

/** Builds the error that names the key, what it accepts and the value found. */
type ToError = (takes: string, found: unknown) => CniError;

/** Addresses that the caller requests instead of any free ones. */
export interface RequestedAddresses {
  /** Addresses without a prefix length, at most one of each family. */
  ips?: string[];
  mac?: string;
}

/**
 * Parses requests and labels as the CNI conventions carry them: `runtimeConfig` (`ips`, `mac`) overrides `args.cni`
 * (`ips`, `labels`). Ignores other keys there, as the conventions require.
 */
export function parseRequestedAddresses(raw: JsonObject): { requested: RequestedAddresses; labels: Labels } {
  const runtime = raw.runtimeConfig == null ? {} : asObject(raw.runtimeConfig, "runtimeConfig");
  const args = raw.args == null ? {} : asObject(raw.args, "args");
  const cni = args.cni == null ? {} : asObject(args.cni, "args.cni");
  const ips =
    runtime.ips != null
      ? parseIps(asTexts(runtime.ips, "runtimeConfig.ips"), keyError("runtimeConfig.ips"))
      : cni.ips != null
        ? parseIps(asTexts(cni.ips, "args.cni.ips"), keyError("args.cni.ips"))
        : [];
  return {
    requested: {
      ...(ips.length > 0 && { ips }),
      ...(runtime.mac != null && runtime.mac !== "" && { mac: parseMac(runtime.mac, keyError("runtimeConfig.mac")) }),
    },
    labels: cni.labels == null ? {} : parseLabels(cni.labels),
  };
}

/** Ignores a given prefix length, because the subnet determines it. */
export function parseIps(texts: string[], toError: ToError): string[] {
  const ips = texts.map(text => {
    const [address = "", prefix, ...rest] = text.trim().split("/");
    const version = isIP(address);
    const fits = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
    if (version === 0 || !fits || rest.length > 0) throw toError('addresses such as "10.1.2.3/16"', text);
    return address;
  });
  for (const version of [4, 6]) {
    if (ips.filter(ip => isIP(ip) === version).length > 1) throw toError("at most one address of each family", texts);
  }
  return ips;
}

/** Returns six lower-case octets of a unicast MAC. */
export function parseMac(value: unknown, toError: ToError): string {
  const mac = typeof value === "string" ? value.toLowerCase().replaceAll("-", ":") : "";
  const unicast = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/.test(mac) && mac !== "00:00:00:00:00:00";
  if (!unicast) throw toError('a unicast MAC such as "0a:58:0a:01:02:03"', value);
  return mac;
}

function keyError(key: string): ToError {
  return (takes, found) => invalidKey(key, takes, found);
}

/** `[{ "key": "app", "value": "web" }]`; the IPAM checks the label syntax. */
function parseLabels(value: unknown): Labels {
  const labels: Labels = {};
  for (const [index, item] of asArray(value, "args.cni.labels").entries()) {
    const at = `args.cni.labels[${index}]`;
    const raw = asObject(item, at);
    if (typeof raw.value !== "string") throw invalidKey(`${at}.value`, "a string", raw.value);
    labels[asText(raw.key, `${at}.key`)] = raw.value;
  }
  return labels;
}
