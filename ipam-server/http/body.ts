import type { IncomingMessage } from "node:http";
import { IpamError } from "../contract/index.ts";

/** Up to this multiple of the limit is read and discarded, so that the sender can read the answer. */
const DISCARD_FACTOR = 8;

/** Returns the parsed JSON body. Rejects with IpamError `invalid_request` (status 413, 415 or 400). */
export async function readJson(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  assertJsonContent(request);
  const bytes = await readBytes(request, maxBytes);
  if (bytes.length === 0) throw new IpamError("invalid_request", "the body is empty; send a JSON document");
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new IpamError("invalid_request", `the body is not JSON: ${reason}`, { cause: error });
  }
}

function assertJsonContent({ headers }: IncomingMessage): void {
  const type = headers["content-type"];
  if (type !== "application/json" && !/^application\/json\s*(;|$)/i.test(type ?? "")) {
    const sent = type === undefined ? "there is no Content-Type" : `Content-Type is ${type}`;
    throw new IpamError("invalid_request", `${sent}; send application/json`, { status: 415 });
  }
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") {
    throw new IpamError("invalid_request", `Content-Encoding is ${encoding}; send the body without encoding`, {
      status: 415,
    });
  }
}

function readBytes(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const tooLarge = () =>
      new IpamError("invalid_request", `the body is larger than ${maxBytes} bytes; send smaller batches`, {
        status: 413,
      });
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size <= maxBytes) chunks.push(chunk);
      else if (size > maxBytes * DISCARD_FACTOR) reject(tooLarge());
      else chunks.length = 0;
    });
    request.on("end", () => {
      if (size > maxBytes) reject(tooLarge());
      else resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks));
    });
    const cutOff = () => {
      if (!request.complete) reject(new IpamError("invalid_request", "the body ended early"));
    };
    request.on("error", cutOff);
    request.on("close", cutOff);
  });
}
