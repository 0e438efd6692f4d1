import { CLUSTER_NAME_ACCEPTS, parseClusterName } from "./cluster-name.ts";
import { DURATION_ACCEPTS, parseDuration } from "./duration.ts";
import { parseServerUrl, SERVER_URL_ACCEPTS } from "./server-url.ts";
import { parseSize, SIZE_ACCEPTS } from "./size.ts";

/** Parsers of option values. Each throws an Error whose message completes `"VALUE" ...`. */

/** Makes an option parser of a grammar, which returns undefined for a text that it does not accept. */
export function accepting<T>(parse: (text: string) => T | undefined, accepts: string): (text: string) => T {
  return text => {
    const value = parse(text);
    if (value === undefined) throw new Error(`is not ${accepts}`);
    return value;
  };
}

export const parseDurationMs = accepting(parseDuration, DURATION_ACCEPTS);
export const parseSizeBytes = accepting(parseSize, SIZE_ACCEPTS);
export const parseCluster = accepting(parseClusterName, CLUSTER_NAME_ACCEPTS);

/** An http or https URL without a path, as a text. */
export const parseServer = accepting(text => {
  const url = parseServerUrl(text);
  return url !== undefined && "host" in url.address && url.basePath === "" ? url.text : undefined;
}, SERVER_URL_ACCEPTS);

export function integerBetween(min: number, max: number): (text: string) => number {
  return text => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) throw new Error(`is not a whole number of ${min} to ${max}`);
    return value;
  };
}

export function oneOf<const T extends string>(...choices: T[]): (text: string) => T {
  return text => {
    const found = choices.find(choice => choice === text);
    if (found === undefined) throw new Error(`is not one of ${choices.join(", ")}`);
    return found;
  };
}

export function parseSwitch(text: string): boolean {
  if (text === "true" || text === "1") return true;
  if (text === "false" || text === "0") return false;
  throw new Error("is not true or false");
}

export const parseText = (text: string): string => text;

export type ListenAddress = { type: "tcp"; host: string; port: number } | { type: "unix"; path: string };

/** `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Port 0 is any free port. */
export function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    if (path === "") throw new Error("names no socket: write unix:PATH");
    return { type: "unix", path };
  }
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65535) throw new Error("is not HOST:PORT, [IPV6]:PORT or unix:PATH");
  return { type: "tcp", host, port };
}
