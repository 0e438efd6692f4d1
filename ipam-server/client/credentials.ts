import fs from "node:fs";
import { IpamError } from "../contract/ipam-error.ts";
import { TransportError } from "./transport-error.ts";

/** The kubelet rotates a token minutes before it expires, so a cached token of this age is still valid. */
const TOKEN_CACHE_MS = 10_000;

/** Returns a function that builds the authorization header; it reads the token file again once the cache is too old. */
export function createHeaders(
  tokenFile: string | undefined,
  cacheMs = TOKEN_CACHE_MS,
): () => Promise<Record<string, string>> {
  let headers: Record<string, string> = {};
  let readAt = Number.NEGATIVE_INFINITY;
  return async () => {
    if (tokenFile === undefined || performance.now() - readAt < cacheMs) return headers;
    const token = (await readCredentialFile("tokenFile", tokenFile)).trim();
    if (!/^[\x21-\x7e]+$/.test(token)) throw unusableError(`"tokenFile" ${tokenFile} holds no token`);
    headers = { authorization: `Bearer ${token}` };
    readAt = performance.now();
    return headers;
  };
}

/** Rejects with IpamError `unavailable`, marked as never sent. */
export async function readCredentialFile(key: string, path: string): Promise<string> {
  try {
    return await fs.promises.readFile(path, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw unusableError(`"${key}" cannot be read: ${reason}`, cause);
  }
}

function unusableError(message: string, cause?: unknown): IpamError {
  return new IpamError("unavailable", message, { cause: new TransportError(message, false, cause) });
}
