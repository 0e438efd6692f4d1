/** A parsed `postgres://` URL. It may name several hosts, of which one accepts writes. */
export interface PostgresUrl {
  /** In the order of attempts. A host that begins with `/` is the directory of a Unix socket. */
  hosts: readonly { host: string; port: number }[];
  database: string;
  /** For messages: hosts and database, never the password. */
  name: string;
  /** The same URL for one of the hosts. */
  forHost(index: number): string;
}

const SHAPE = /^postgres(?:ql)?:\/\/(?:([^@/?#]*)@)?([^/?#]*)(?:\/([^/?#]*))?(?:\?([^#]*))?$/;
const HOST = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]*))(?::(\d{1,5}))?$/;
const DEFAULT_PORT = 5432;
const PARAMETERS = [
  ...["host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs"],
  ...["application_name", "options"],
];
/** libpq's names. Every mode with TLS, except `no-verify`, verifies the certificate and its name. */
const TLS_MODES = new Map([
  ["disable", "disable"],
  ["require", "verify-full"],
  ["verify-ca", "verify-full"],
  ["verify-full", "verify-full"],
  ["no-verify", "no-verify"],
]);

/** Throws an Error whose message completes "VALUE ..." and does not repeat the value, which may hold a password. */
export function parsePostgresUrl(text: string): PostgresUrl {
  const [, login, authority = "", path = "", search = ""] = SHAPE.exec(text) ?? fail();
  const database = decode(path);
  if (database === "") throw new Error("names no database: write postgres://USER@HOST/DATABASE");
  const query = new URLSearchParams(search);
  for (const key of query.keys()) {
    if (!PARAMETERS.includes(key))
      throw new Error(`has the unknown parameter ${key}; known are ${PARAMETERS.join(", ")}`);
  }
  const mode = query.get("sslmode");
  if (mode !== null) {
    const used = TLS_MODES.get(mode);
    if (used === undefined) throw new Error(`has an unknown sslmode; known are ${[...TLS_MODES.keys()].join(", ")}`);
    query.set("sslmode", used);
  }
  // Accepted for libpq's sake: Mooring always connects to the host that accepts writes.
  query.delete("target_session_attrs");
  const socket = query.get("host");
  query.delete("host");
  const texts = (socket ?? authority).split(",").map(decode);
  const hosts = texts.map(host => (host.startsWith("/") ? { host, port: portOf(query) } : parseHost(host)));
  query.delete("port");
  const shown = hosts.map(({ host, port }) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`));
  const rest = query.size > 0 ? `?${query}` : "";
  return {
    hosts,
    database,
    name: `${database} on ${shown.join(", ")}`,
    forHost(index) {
      const { host, port } = hosts[index % hosts.length] ?? fail();
      const place = host.includes(":") ? `[${host}]` : host.startsWith("/") ? encodeURIComponent(host) : host;
      return `postgres://${login === undefined ? "" : `${login}@`}${place}:${port}/${path}${rest}`;
    },
  };
}

function parseHost(text: string): { host: string; port: number } {
  const [, bracketed, plain, digits] = HOST.exec(text) ?? fail();
  const port = digits === undefined ? DEFAULT_PORT : toPort(digits);
  return { host: bracketed ?? (plain === "" || plain === undefined ? "localhost" : plain), port };
}

function portOf(query: URLSearchParams): number {
  return toPort(query.get("port") ?? String(DEFAULT_PORT));
}

function toPort(digits: string): number {
  const port = Number(digits);
  if (!/^\d{1,5}$/.test(digits) || port < 1 || port > 65535) throw new Error("names a port that is none (1 to 65535)");
  return port;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return fail();
  }
}

function fail(): never {
  throw new Error("is not postgres://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE");
}
