import {
  accepting,
  integerBetween,
  oneOf,
  parseDurationMs,
  parseListenAddress,
  parseSizeBytes,
  parseSwitch,
} from "./process/option-parsers.ts";
import type { OptionValues } from "./process/options.ts";
import { parseRetentionTime, RETENTION_TIME_ACCEPTS } from "./process/retention-time.ts";
import { parsePostgresUrl } from "./storage/postgres/database/postgres-url.ts";

type DatabaseAddress = { engine: "sqlite"; path: string } | { engine: "postgres"; url: string };

function parseDatabase(text: string): DatabaseAddress {
  if (/^postgres(ql)?:/.test(text)) {
    parsePostgresUrl(text);
    return { engine: "postgres", url: text };
  }
  const path = /^sqlite:(.+)$/.exec(text)?.[1];
  if (path === undefined) throw new Error("names no database: write sqlite:PATH or postgres://USER@HOST/DATABASE");
  return { engine: "sqlite", path };
}

/** Hides a URL's password in help and logs. */
const hidePassword = (text: string): string => text.replace(/^([^/]*:\/\/[^/@]*:).*@/, "$1***@");

/** The options of mooring-ipam. */
export const SERVER_OPTIONS = {
  listen: {
    about: "address to serve on: HOST:PORT, [IPV6]:PORT or unix:PATH",
    placeholder: "address",
    default: "127.0.0.1:7070",
    parse: parseListenAddress,
  },
  database: {
    about: "where to store state: sqlite:PATH, or postgres://USER:PASSWORD@HOST,HOST/DATABASE for several servers",
    placeholder: "url",
    default: "sqlite:/var/lib/mooring/ipam.db",
    parse: parseDatabase,
    show: hidePassword,
  },
  reuseDelay: {
    about: "how long a freed address is held before it is assigned again",
    placeholder: "duration",
    default: "60s",
    parse: parseDurationMs,
  },
  leaseTime: {
    about: "how long a node may assign its leased addresses without a renewal",
    placeholder: "duration",
    default: "1h",
    parse: parseDurationMs,
  },
  retainWhenDeleted: {
    about: `how long ports are kept whose workload is deleted: ${RETENTION_TIME_ACCEPTS}`,
    placeholder: "time",
    default: "7d",
    parse: accepting(parseRetentionTime, RETENTION_TIME_ACCEPTS),
  },
  retainWhenScaled: {
    about: `how long ports are kept whose workload was scaled down: ${RETENTION_TIME_ACCEPTS}`,
    placeholder: "time",
    default: "7d",
    parse: accepting(parseRetentionTime, RETENTION_TIME_ACCEPTS),
  },
  eventRetention: {
    about: "how long events are kept",
    placeholder: "duration",
    default: "30d",
    parse: parseDurationMs,
  },
  eventSize: {
    about:
      "how much space events may take, of which the oldest are deleted first (without it: a third of the volume of an " +
      "SQLite database, 20GiB of PostgreSQL)",
    placeholder: "size",
    parse: parseSizeBytes,
  },
  maxQueue: {
    about: "how many claims, releases and reports may wait before clients get 503 overloaded",
    placeholder: "items",
    default: "10000",
    parse: integerBetween(1, 1_000_000),
  },
  requestTimeout: {
    about: "time limit for a client to send one request",
    placeholder: "duration",
    default: "30s",
    parse: parseDurationMs,
  },
  logLevel: {
    about: "one of fatal, error, warn, info, debug, trace",
    placeholder: "level",
    default: "info",
    parse: oneOf("fatal", "error", "warn", "info", "debug", "trace"),
  },
  insecure: {
    about: "serve unauthenticated clients on other addresses than loopback",
    default: "false",
    parse: parseSwitch,
  },
} as const;

export type ServerConfig = OptionValues<typeof SERVER_OPTIONS>;

/** True if only this machine can reach the address. Names other than `localhost` count as remote. */
function isLocal(listen: ServerConfig["listen"]): boolean {
  if (listen.type === "unix") return true;
  return listen.host === "localhost" || listen.host === "::1" || /^127(\.\d{1,3}){3}$/.test(listen.host);
}

/** The reason why this configuration must not be served, or undefined. */
export function findConfigFault(config: ServerConfig): string | undefined {
  if (isLocal(config.listen) || config.insecure) return undefined;
  return (
    "--listen: this address can be reached from other machines, and no identities are configured, so anyone there " +
    "could claim and release addresses; listen on 127.0.0.1, [::1] or unix:PATH, or add --insecure to accept that"
  );
}
