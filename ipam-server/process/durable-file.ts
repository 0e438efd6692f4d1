// Promises are reached through `fs.promises`, which loads at first use: most calls of the CNI executable write no file.
import fs from "node:fs";
import { basename, dirname, join } from "node:path";

interface WriteOptions {
  /** Permission bits of a new file. Default 0o600. */
  mode?: number;
  /** False: rejects with EEXIST if the path exists, and never replaces a file that another process just created. Default true. */
  replace?: boolean;
}

const DRAFT = /^\..+\.mooring-draft$/;

/**
 * Writes a file atomically: temporary file in the same folder, fsync, rename (or link), fsync of the folder. After a crash at
 * any moment the path has its old content or all of the new one. Returns the number of bytes written.
 */
export async function writeDurably(
  path: string,
  content: string | AsyncIterable<Uint8Array>,
  { mode = 0o600, replace = true }: WriteOptions = {},
): Promise<number> {
  const draft = draftOf(path);
  let sizeBytes: number;
  try {
    sizeBytes = await writeSynced(draft, content, mode);
    if (replace) await fs.promises.rename(draft, path);
    else await fs.promises.link(draft, path);
  } finally {
    await fs.promises.rm(draft, { force: true });
  }
  await syncPath(dirname(path));
  return sizeBytes;
}

/** Points a symbolic link to the target, atomically and durably. */
export async function linkDurably(path: string, target: string): Promise<void> {
  const draft = draftOf(path);
  try {
    await fs.promises.symlink(target, draft);
    await fs.promises.rename(draft, path);
  } finally {
    await fs.promises.rm(draft, { force: true });
  }
  await syncPath(dirname(path));
}

/** Copies a file and syncs its content. Not atomic: copy into a folder that is renamed when complete. */
export async function copySynced(from: string, to: string, mode: number): Promise<void> {
  await fs.promises.copyFile(from, to);
  const file = await fs.promises.open(to, "r");
  try {
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Flushes a file's content, or the names in a folder: a rename is durable only when its folder is synced (fsync(2)). */
export async function syncPath(path: string): Promise<void> {
  const handle = await fs.promises.open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A unique temporary name in the folder of `path`. The leading dot hides it from programs that read that folder. */
export function draftOf(path: string): string {
  const unique = `${Date.now().toString(36)}${Math.random().toString(36).slice(2)}`;
  return join(dirname(path), `.${basename(path)}.${unique}.mooring-draft`);
}

/** Removes drafts that a crashed process left in the folder, if `mayRemove` agrees. */
export async function removeDrafts(folder: string, mayRemove: (path: string) => Promise<boolean>): Promise<void> {
  for (const name of await fs.promises.readdir(folder)) {
    const path = join(folder, name);
    if (DRAFT.test(name) && (await mayRemove(path))) await fs.promises.rm(path, { recursive: true, force: true });
  }
}

async function writeSynced(path: string, content: string | AsyncIterable<Uint8Array>, mode: number): Promise<number> {
  const file = await fs.promises.open(path, "wx", mode);
  try {
    await file.writeFile(content);
    await file.sync();
    return (await file.stat()).size;
  } finally {
    await file.close();
  }
}
