interface ServerUrl {
  /** As written, without a trailing slash. */
  text: string;
  isSecure: boolean;
  address: { host: string; port: number } | { socketPath: string };
  /** Prefix of every path, without a trailing slash. */
  basePath: string;
}

export const SERVER_URL_ACCEPTS = "http://HOST:PORT or https://HOST:PORT";
export const LOCAL_SERVER_URL_ACCEPTS = "http://HOST:PORT, https://HOST:PORT or unix:/PATH";

/** Parses where an IPAM server is reached; undefined for any other text. Ports default to those of the scheme. */
export function parseServerUrl(text: string): ServerUrl | undefined {
  if (/^unix:\/[^\s]+$/.test(text)) {
    return { text, isSecure: false, address: { socketPath: text.slice("unix:".length) }, basePath: "" };
  }
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//.test(text) || /[\s?#]/.test(text) || url.username !== "") return undefined;
  const isSecure = url.protocol === "https:";
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return {
    text: text.replace(/\/+$/, ""),
    isSecure,
    address: { host, port: Number(url.port) || (isSecure ? 443 : 80) },
    basePath: url.pathname.replace(/\/+$/, ""),
  };
}
