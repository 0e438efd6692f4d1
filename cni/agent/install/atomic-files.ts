import { randomUUID } from "node:crypto";
import { copyFile, open, readdir, rename, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Begins with a dot and ends in what no reader of these folders takes for its own. */
const DRAFT = /^\..+\.mooring-draft$/;

/** A name beside `path` for what will be renamed to it. */
export function draftOf(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomUUID()}.mooring-draft`);
}

/** The file has its old content or the new one, whole, whenever the power goes. */
export async function replaceFile(path: string, content: string, mode: number): Promise<void> {
  const draft = draftOf(path);
  try {
    const file = await open(draft, "wx", mode);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
  await syncFolder(dirname(path));
}

export async function replaceLink(path: string, target: string): Promise<void> {
  const draft = draftOf(path);
  try {
    await symlink(target, draft);
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
  await syncFolder(dirname(path));
}

export async function copyDurably(from: string, to: string, mode: number): Promise<void> {
  await copyFile(from, to);
  const file = await open(to, "r");
  try {
    await file.chmod(mode);
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** What a process left that died half way. */
export async function removeDrafts(folder: string, mayRemove: (path: string) => Promise<boolean>): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    if (DRAFT.test(name) && (await mayRemove(path))) await rm(path, { recursive: true, force: true });
  }
}
