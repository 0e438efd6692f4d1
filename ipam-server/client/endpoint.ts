import { LOCAL_SERVER_URL_ACCEPTS, parseServerUrl } from "../process/server-url.ts";

/** Where an IPAM listens, parsed from `http://HOST:PORT`, `https://HOST:PORT` (with or without a path) or `unix:/PATH`. */
export interface Endpoint {
  /** As configured, for messages. */
  url: string;
  isSecure: boolean;
  address: { host: string; port: number } | { path: string };
  /** For the Host header. */
  authority: string;
  /** Prefix of every request path, without a trailing slash. */
  basePath: string;
}

/** Throws TypeError for a text that is no server URL. */
export function parseEndpoint(url: string): Endpoint {
  const parsed = parseServerUrl(url);
  if (parsed === undefined) throw new TypeError(`"${url}" is not ${LOCAL_SERVER_URL_ACCEPTS}`);
  const { isSecure, address, basePath } = parsed;
  return "socketPath" in address
    ? { url, isSecure, address: { path: address.socketPath }, authority: "localhost", basePath }
    : { url, isSecure, address, authority: new URL(url).host, basePath };
}
