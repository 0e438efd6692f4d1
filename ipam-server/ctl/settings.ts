import { accepting, parseDurationMs } from "../process/option-parsers.ts";
import { LOCAL_SERVER_URL_ACCEPTS, parseServerUrl } from "../process/server-url.ts";

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
    parse: accepting(parseServerUrl, LOCAL_SERVER_URL_ACCEPTS),
  },
  timeout: {
    about: "deadline of each call to the server",
    placeholder: "duration",
    default: "10s",
    parse: parseTimeoutMs,
  },
} as const;
