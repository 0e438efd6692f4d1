/** A `postgres://` URL taken apart; it may name several hosts, of which one takes writes. */
export interface PostgresUrl {
  /** In the order in which they are tried. A host that begins with `/` is the directory of a Unix socket. */
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

/** Throws an Error whose message completes "VALUE ..." and does not repeat the value, which may hold a password. */
export function parsePostgresUrl(text: string): PostgresUrl {
  const [, login, authority = "", path = "", search = ""] = SHAPE.exec(text) ?? fail();
  const database = decode(path);
  if (database === "") throw new Error("names no database: write postgres://USER@HOST/DATABASE");
  const query = new URLSearchParams(search);
  // As in libpq; here every host is asked, and the one that takes writes is used.
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
  const port = digits === undefined ? DEFAULT_PORT : Number(digits);
  if (port < 1 || port > 65535) throw new Error("names a port that is none (1 to 65535)");
  return { host: bracketed ?? (plain === "" || plain === undefined ? "localhost" : plain), port };
}

function portOf(query: URLSearchParams): number {
  return Number(query.get("port") ?? DEFAULT_PORT);
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
