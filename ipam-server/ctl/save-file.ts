import { lstat } from "node:fs/promises";
import { dirname } from "node:path";
import { writeDurably } from "../process/durable-file.ts";
import { CtlError } from "./ctl-error.ts";

/** Before the server is asked: whether the file may be written at all. */
export async function assertNotExisting(path: string, force: boolean): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new CtlError("usage", `${path} is a directory; name a file in it`);
  if (found && !force) throw alreadyThere(path);
  const directory = await lstat(dirname(path)).catch(() => undefined);
  if (!directory) throw new CtlError("usage", `there is no directory ${dirname(path)}; make it first`);
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
    throw explain(path, error);
  }
}

function explain(path: string, error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (code === "EEXIST") return alreadyThere(path);
  if (code === undefined || syscall === undefined || syscall === "read") return error;
  return new CtlError("usage", `cannot write ${path}: ${message}`, { advice: "It is as it was before.", cause: error });
}

const alreadyThere = (path: string): CtlError =>
  new CtlError("usage", `${path} is there already; name another file, or add --force to replace it`);
