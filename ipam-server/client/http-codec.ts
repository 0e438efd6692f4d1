/**
 * As much of HTTP/1.1 (RFC 9112) as a client of one JSON API needs: bytes to answers and back, no socket. Node's own
 * client takes nine milliseconds to load and run, a third of the time of the CNI executable.
 */

interface HttpRequest {
  method: string;
  path: string;
  /** Of the Host header. */
  host: string;
  headers: Record<string, string>;
  body?: string;
}

export interface HttpAnswer {
  status: number;
  body: string;
  /** The header's value. */
  retryAfter?: string;
  /** Whether the connection can carry another request. */
  reusable: boolean;
}

const MAX_HEAD_BYTES = 64 * 1024;
/** Far above a page of ports or a list of networks; exports and backups are streams. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;

export function formatRequest({ method, path, host, headers, body }: HttpRequest): Buffer {
  const lines = [`${method} ${path} HTTP/1.1`, `host: ${host}`, "accept: application/json"];
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
  const bytes = body === undefined ? undefined : Buffer.from(body);
  if (bytes !== undefined) lines.push("content-type: application/json", `content-length: ${bytes.length}`);
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return bytes === undefined ? head : Buffer.concat([head, bytes]);
}

/** How the body ends (RFC 9112, section 6.3). */
type Framing = { kind: "length"; bytes: number } | { kind: "chunked" } | { kind: "close" };

interface Head {
  status: number;
  framing: Framing;
  retryAfter: string | undefined;
  reusable: boolean;
}

/** Parses one answer as its bytes arrive. `push` and `end` return it once complete and throw if it is invalid. */
export class AnswerParser {
  #bytes: Buffer = Buffer.alloc(0);
  #head: Head | undefined;
  readonly #body: Buffer[] = [];
  #bodyBytes = 0;

  push(bytes: Buffer): HttpAnswer | undefined {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    // Interim answers (1xx) precede the final one.
    while (this.#head === undefined) {
      const end = this.#bytes.indexOf("\r\n\r\n");
      if (end === -1 && this.#bytes.length > MAX_HEAD_BYTES) throw new Error("the head of the answer is too large");
      if (end === -1) return undefined;
      const head = parseHead(this.#bytes.toString("latin1", 0, end));
      this.#bytes = this.#bytes.subarray(end + 4);
      if (head.status >= 200) this.#head = head;
    }
    return this.#readBody(this.#head);
  }

  /** The connection ended: completes a body without length, else throws. */
  end(): HttpAnswer {
    if (this.#head?.framing.kind === "close") return this.#finish(this.#head);
    throw new Error("the connection ended before the answer was complete");
  }

  #readBody(head: Head): HttpAnswer | undefined {
    const { framing } = head;
    if (this.#bytes.length + this.#bodyBytes > MAX_BODY_BYTES) throw new Error("the answer is too large");
    if (framing.kind === "chunked") return this.#readChunks(head);
    this.#take(this.#bytes.length);
    if (framing.kind === "close" || this.#bodyBytes < framing.bytes) return undefined;
    if (this.#bodyBytes > framing.bytes) throw new Error("the answer is longer than it says");
    return this.#finish(head);
  }

  /** Moves bytes to the body; joins them only at its end, because joining at each arrival is quadratic. */
  #take(size: number): void {
    this.#body.push(this.#bytes.subarray(0, size));
    this.#bodyBytes += size;
    this.#bytes = this.#bytes.subarray(size);
  }

  /** RFC 9112, section 7.1; trailers are skipped. */
  #readChunks(head: Head): HttpAnswer | undefined {
    for (;;) {
      const lineEnd = this.#bytes.indexOf("\r\n");
      if (lineEnd === -1) return undefined;
      const line = this.#bytes.toString("latin1", 0, lineEnd).split(";")[0]?.trim() ?? "";
      if (!/^[0-9a-f]{1,8}$/i.test(line)) throw new Error("a chunk of the answer has no length");
      const size = Number.parseInt(line, 16);
      if (size + this.#bodyBytes > MAX_BODY_BYTES) throw new Error("the answer is too large");
      if (size === 0) {
        const rest = this.#bytes.subarray(lineEnd);
        return rest.indexOf("\r\n\r\n") === -1 ? undefined : this.#finish(head);
      }
      const next = lineEnd + 2 + size + 2;
      if (this.#bytes.length < next) return undefined;
      if (this.#bytes.toString("latin1", next - 2, next) !== "\r\n")
        throw new Error("a chunk of the answer has no end");
      this.#bytes = this.#bytes.subarray(lineEnd + 2);
      this.#take(size);
      this.#bytes = this.#bytes.subarray(2);
    }
  }

  #finish({ status, retryAfter, reusable }: Head): HttpAnswer {
    const body = Buffer.concat(this.#body).toString("utf8");
    return { status, body, reusable, ...(retryAfter !== undefined && { retryAfter }) };
  }
}

function parseHead(text: string): Head {
  const [statusLine = "", ...lines] = text.split("\r\n");
  const [, minor, digits] = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(statusLine) ?? [];
  if (digits === undefined) throw new Error("the server does not speak HTTP/1.1");
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error("the answer has a header without a name");
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  const status = Number(digits);
  const framing = deriveFraming(status, headers);
  const closes = minor === "0" || headers.get("connection")?.toLowerCase() === "close";
  const retryAfter = headers.get("retry-after");
  return { status, framing, retryAfter, reusable: !closes && framing.kind !== "close" };
}

function deriveFraming(status: number, headers: ReadonlyMap<string, string>): Framing {
  const encoding = headers.get("transfer-encoding")?.toLowerCase();
  if (encoding === "chunked") return { kind: "chunked" };
  if (encoding !== undefined) throw new Error(`the answer is encoded as ${encoding}`);
  if (status === 204 || status === 304) return { kind: "length", bytes: 0 };
  const length = headers.get("content-length");
  if (length === undefined) return { kind: "close" };
  if (!/^\d{1,15}$/.test(length)) throw new Error("the answer's content-length is no number");
  if (Number(length) > MAX_BODY_BYTES) throw new Error("the answer is too large");
  return { kind: "length", bytes: Number(length) };
}
