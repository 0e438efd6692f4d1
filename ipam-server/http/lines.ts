import { TextDecoder } from "node:util";
import { IpamError } from "../contract/index.ts";

/** Above the longest possible row: a network with a 1 MiB list of excluded addresses. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;
const LINE_FEED = 0x0a;

/** Yields the lines of a byte stream without their line feeds. The last line must end with one. */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes = MAX_LINE_BYTES,
): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let to = chunk.indexOf(LINE_FEED); to !== -1; to = chunk.indexOf(LINE_FEED, from)) {
      parts.push(chunk.subarray(from, to));
      yield decode(decoder, parts.length === 1 ? parts[0] : Buffer.concat(parts));
      parts = [];
      size = 0;
      from = to + 1;
    }
    if (from === chunk.length) continue;
    parts.push(chunk.subarray(from));
    size += chunk.length - from;
    if (size > maxBytes) throw new IpamError("invalid_request", `is longer than ${maxBytes} bytes`);
  }
  if (size > 0) throw new IpamError("invalid_request", "ends without a line feed: the file is cut off");
}

function decode(decoder: TextDecoder, bytes: Uint8Array | undefined): string {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new IpamError("invalid_request", "is not UTF-8: the file is damaged", { cause: error });
  }
}
