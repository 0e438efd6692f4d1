import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { draftOf, linkDurably, removeDrafts, writeDurably } from "../../../ipam-server/process/durable-file.ts";

async function makeFolder(): Promise<AsyncDisposable & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), "mooring-durable-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

describe("writeDurably", () => {
  it("creates the file with its mode and leaves no draft", async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, "a");
    assert.equal(await writeDurably(path, "content", { mode: 0o640 }), 7);
    assert.equal(await readFile(path, "utf8"), "content");
    assert.equal((await stat(path)).mode & 0o777, 0o640);
    assert.deepEqual(await readdir(folder.path), ["a"]);
  });

  it("replaces an existing file", async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, "a");
    await writeFile(path, "old");
    await writeDurably(path, "new");
    assert.equal(await readFile(path, "utf8"), "new");
  });

  it("rejects with EEXIST and keeps the file when replace is false", async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, "a");
    await writeFile(path, "old");
    await assert.rejects(writeDurably(path, "new", { replace: false }), { code: "EEXIST" });
    assert.equal(await readFile(path, "utf8"), "old");
    assert.deepEqual(await readdir(folder.path), ["a"]);
  });

  it("keeps the old file when the content breaks off", async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, "a");
    await writeFile(path, "old");
    async function* broken() {
      yield Buffer.from("half");
      throw new Error("connection lost");
    }
    await assert.rejects(writeDurably(path, broken()), /connection lost/);
    assert.equal(await readFile(path, "utf8"), "old");
    assert.deepEqual(await readdir(folder.path), ["a"]);
  });

  it("writes a stream of chunks and returns its size", async () => {
    await using folder = await makeFolder();
    async function* chunks() {
      for (let index = 0; index < 3; index++) yield Buffer.alloc(100_000, index);
    }
    assert.equal(await writeDurably(join(folder.path, "a"), chunks()), 300_000);
    assert.equal((await readFile(join(folder.path, "a")))[299_999], 2);
  });
});

describe("linkDurably", () => {
  it("creates a link and points an existing one elsewhere", async () => {
    await using folder = await makeFolder();
    const path = join(folder.path, "current");
    for (const target of ["versions/1", "versions/2"]) {
      await linkDurably(path, target);
      assert.equal(await readlink(path), target);
    }
    assert.deepEqual(await readdir(folder.path), ["current"]);
  });
});

describe("removeDrafts", () => {
  it("removes only drafts, and only those that the caller agrees to", async () => {
    await using folder = await makeFolder();
    const [old, recent] = [draftOf(join(folder.path, "a")), draftOf(join(folder.path, "a"))];
    for (const path of [old, recent, join(folder.path, ".hidden"), join(folder.path, "b.mooring-draft")]) {
      await writeFile(path, "");
    }
    await removeDrafts(folder.path, async path => path === old);
    const left = await readdir(folder.path);
    assert.equal(left.length, 3);
    assert.ok(!left.includes(basename(old)));
  });
});
