import { lstat } from "node:fs/promises";
import { dirname } from "node:path";
import { writeDurably } from "../process/durable-file.ts";
import { CtlError } from "./ctl-error.ts";

/** Throws CtlError if the file cannot be written or exists without `force`. Called before the server does any work. */
export async function assertMayWrite(path: string, force: boolean): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new CtlError("usage", `${path} is a directory; name a file in it`);
  if (found && !force) throw existsError(path);
  const directory = await lstat(dirname(path)).catch(() => undefined);
  if (!directory) throw new CtlError("usage", `directory ${dirname(path)} does not exist; create it first`);
}

/** Saves the file completely or leaves it as it was. Only its owner may read it. Returns its size in bytes. */
export async function saveFile(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  { force }: { force: boolean },
): Promise<number> {
  try {
    // Without --force a file that another program created meanwhile is kept.
    return await writeDurably(path, chunks, { replace: force });
  } catch (error) {
    throw toCtlError(path, error);
  }
}

function toCtlError(path: string, error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (code === "EEXIST") return existsError(path);
  if (code === undefined || syscall === undefined || syscall === "read") return error;
  return new CtlError("usage", `cannot write ${path}: ${message}`, { advice: "The file is unchanged.", cause: error });
}

const existsError = (path: string): CtlError =>
  new CtlError("usage", `${path} exists already; name another file, or add --force to replace it`);
