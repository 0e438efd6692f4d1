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

/** Throws TypeError for an URL that cannot be parsed. */
export function parseEndpoint(url: string): Endpoint {
  if (url.startsWith("unix:")) {
    const address = { path: url.slice("unix:".length) };
    return { url, isSecure: false, address, authority: "localhost", basePath: "" };
  }
  const { protocol, host: authority, hostname, port, pathname } = new URL(url);
  const isSecure = protocol === "https:";
  const host = hostname.replace(/^\[|\]$/g, "");
  const address = { host, port: Number(port) || (isSecure ? 443 : 80) };
  return { url, isSecure, address, authority, basePath: pathname.replace(/\/+$/, "") };
}
