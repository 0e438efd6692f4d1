import { randomUUID } from "node:crypto";
import { type FileHandle, link, lstat, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { CtlError } from "./ctl-error.ts";

/** Before the server is asked: whether the file may be written at all. */
export async function assertNotExisting(path: string, force: boolean): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found?.isDirectory()) throw new CtlError("usage", `${path} is a directory; name a file in it`);
  if (found && !force) throw alreadyThere(path);
  const directory = await lstat(dirname(path)).catch(() => undefined);
  if (!directory) throw new CtlError("usage", `there is no directory ${dirname(path)}; make it first`);
}

/** The file is there whole and on the disk, or as it was before. Only its owner may read it. */
export async function saveFile(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  { force, onBytes }: { force: boolean; onBytes?: (chunk: Uint8Array) => void },
): Promise<number> {
  const draft = `${path}.partial-${randomUUID().slice(0, 8)}`;
  let size = 0;
  try {
    await using file = await open(draft, "wx", 0o600);
    for await (const chunk of chunks) {
      await writeWhole(file, chunk);
      onBytes?.(chunk);
      size += chunk.length;
    }
    await file.sync();
    // A link never replaces what somebody made meanwhile.
    if (force) await rename(draft, path);
    else await link(draft, path);
    await using directory = await open(dirname(path), "r");
    await directory.sync();
    return size;
  } catch (error) {
    throw explain(path, error);
  } finally {
    await rm(draft, { force: true });
  }
}

async function writeWhole(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let from = 0; from < chunk.length; ) {
    const { bytesWritten } = await file.write(chunk, from);
    from += bytesWritten;
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
