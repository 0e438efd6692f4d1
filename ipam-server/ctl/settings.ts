import { parseDurationMs } from "../process/option-parsers.ts";
import type { OptionValues } from "../process/options.ts";

/** Where the IPAM answers, and how a person wrote it. */
export interface Endpoint {
  text: string;
  secure: boolean;
  /** Either a TCP address or the path of a unix socket. */
  address: { host: string; port: number } | { socketPath: string };
  /** Put before every path, without a slash at its end. */
  basePath: string;
}

function parseServer(text: string): Endpoint {
  if (text.startsWith("unix:/")) {
    return { text, secure: false, address: { socketPath: text.slice("unix:".length) }, basePath: "" };
  }
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.search !== "" || url.hash !== "") {
    throw new Error("is not http://HOST:PORT, https://HOST:PORT or unix:/PATH");
  }
  const secure = url.protocol === "https:";
  return {
    text,
    secure,
    address: { host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(url.port) || (secure ? 443 : 80) },
    basePath: url.pathname.replace(/\/+$/, ""),
  };
}

function parseTimeoutMs(text: string): number {
  const ms = parseDurationMs(text);
  if (ms < 1) throw new Error("leaves no time at all: such as 10s");
  return ms;
}

export const CTL_OPTIONS = {
  server: {
    about: "where the IPAM is: http://HOST:PORT, https://HOST:PORT or unix:/PATH",
    placeholder: "url",
    default: "http://127.0.0.1:7070",
    parse: parseServer,
  },
  timeout: {
    about: "deadline of each call to the server",
    placeholder: "duration",
    default: "10s",
    parse: parseTimeoutMs,
  },
} as const;

export type Settings = OptionValues<typeof CTL_OPTIONS>;
