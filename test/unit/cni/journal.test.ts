import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, readdir, symlink, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Journals } from "../../../cni/agent/ipam/journals.ts";
import { pruneDamaged } from "../../../cni/journal/journal.ts";
import { problem } from "../../fakes/ipam-server.ts";
import { appendMany, JournalHarness, release } from "./journal-harness.ts";

describe("the journal", () => {
  it("delivers entries in order, also those of one millisecond", async () => {
    await using harness = await JournalHarness.start();
    const ids = Array.from({ length: 12 }, (_, index) => `s${index}`);
    for (const [index, id] of ids.entries()) {
      if (index % 5 === 4) harness.timeMs += 1;
      await harness.journal.append(release(id));
    }
    await harness.deliver();
    assert.deepEqual(harness.delivered, ids);
    assert.ok(harness.journal.isEmpty());
  });

  it("keeps the order when the clock is set back", async () => {
    await using harness = await JournalHarness.start();
    await harness.journal.append(release("first"));
    harness.timeMs -= 500_000;
    await harness.journal.append(release("second"));
    await harness.journal.append(release("third"));
    await harness.deliver();
    assert.deepEqual(harness.delivered, ["first", "second", "third"]);
  });

  it("fills in the deliverer's host where a release has none", async () => {
    await using harness = await JournalHarness.start();
    await harness.journal.append({ kind: "release", release: { sandbox: { id: "s", interface: "eth0" } } });
    await harness.deliver();
    assert.equal(harness.ipam.releases[0]?.host, "node-a");
  });

  it("keeps the order of reports and releases among each other", async () => {
    await using harness = await JournalHarness.start();
    const report = { name: "p", epoch: 3, plane: "underlay", state: "ACTIVE" } as const;
    for (const entry of [release("a"), { kind: "report", report } as const, release("b")]) {
      await harness.journal.append(entry);
    }
    await harness.deliver();
    assert.deepEqual(
      harness.ipam.requests.map(({ path }) => path),
      ["/v1/releases", "/v1/reports", "/v1/releases"],
    );
    assert.deepEqual(harness.ipam.reports, [report]);
  });

  it("delivers batches of 100 and limits the batches of one call", async () => {
    await using harness = await JournalHarness.start();
    await appendMany(harness, 230);
    await harness.deliver(2);
    assert.deepEqual([harness.ipam.requests.length, harness.delivered.length], [2, 200]);
    await harness.deliver();
    assert.equal(harness.delivered.length, 230);
  });

  it("moves damaged entries to damaged/ and delivers the others", async () => {
    await using harness = await JournalHarness.start();
    await harness.journal.append(release("a"));
    const damaged = [
      "",
      "{",
      '{"version":1,"kind":"release"}',
      '{"version":2}',
      '{"version":1,"kind":"report","report":{}}',
      "null",
    ];
    for (const [index, text] of damaged.entries())
      await writeFile(join(harness.dir, `00000000000000${index}-000000.json`), text);
    await harness.deliver();
    assert.deepEqual(harness.delivered, ["a"]);
    assert.equal((await readdir(join(harness.dir, "damaged"))).length, damaged.length);
    assert.equal(harness.log.length, damaged.length);
    assert.ok(harness.journal.isEmpty());
  });

  it("moves files, folders and pipes that are no entries to damaged/", async () => {
    await using harness = await JournalHarness.start();
    await harness.journal.append(release("a"));
    await mkdir(join(harness.dir, "damaged", "notes.txt"), { recursive: true });
    await writeFile(join(harness.dir, "notes.txt"), "");
    await writeFile(join(harness.dir, "17.json"), "{}");
    await mkdir(join(harness.dir, "backup"));
    await mkdir(join(harness.dir, "000000000000001-000000.json"));
    await symlink("nowhere", join(harness.dir, "000000000000002-000000.json"));
    execFileSync("mkfifo", [join(harness.dir, "000000000000003-000000.json")]);
    assert.ok(!harness.journal.isEmpty());
    await harness.deliver();
    assert.deepEqual([harness.delivered, await readdir(harness.dir)], [["a"], ["damaged"]]);
    assert.deepEqual((await readdir(join(harness.dir, "damaged"))).toSorted(), [
      "000000000000001-000000.json",
      "000000000000002-000000.json",
      "000000000000003-000000.json",
      "17.json",
      "backup",
      "notes.txt",
      "notes.txt.2",
    ]);
    assert.equal(harness.log.length, 6);
    assert.match(harness.log.join("\n"), /notes.txt is no entry and moved to damaged\//);
  });

  it("keeps the newest 100 in damaged/ and logs that it removed the oldest", async () => {
    await using harness = await JournalHarness.start();
    const damaged = join(harness.dir, "damaged");
    const names = Array.from({ length: 101 }, (_, index) => `${String(index).padStart(15, "0")}-000000.json`);
    await mkdir(join(damaged, names[0] ?? ""), { recursive: true });
    await writeFile(join(damaged, names[0] ?? "", "note.txt"), "a folder that was set aside");
    for (const name of names.slice(1)) await writeFile(join(damaged, name), "{");
    await writeFile(join(harness.dir, "000000000000500-000000.json"), "{");
    await harness.deliver();
    assert.deepEqual((await readdir(damaged)).toSorted(), [...names.slice(2), "000000000000500-000000.json"]);
    assert.equal(harness.log.at(-1), `journal ${damaged}: removed the oldest 2, keeps the newest 100`);
  });

  it("logs that damaged/ cannot be read when it is pruned", async () => {
    await using harness = await JournalHarness.start();
    await mkdir(harness.dir);
    await writeFile(join(harness.dir, "damaged"), "");
    await pruneDamaged(harness.dir, line => void harness.log.push(line));
    assert.match(harness.log.join(), /damaged: the oldest cannot be removed: .*ENOTDIR/);
  });

  it("keeps the newest 100 of what was found beside the journals", async () => {
    await using harness = await JournalHarness.start();
    await mkdir(harness.dir);
    for (let index = 100; index <= 200; index++) await writeFile(join(harness.dir, `stray-${index}`), "");
    await new Journals(harness.dir).setAsideStray(line => void harness.log.push(line));
    assert.equal((await readdir(join(harness.dir, ".damaged"))).length, 100);
    assert.equal(harness.log.at(-1), `journal ${harness.dir}/.damaged: removed the oldest 1, keeps the newest 100`);
  });

  it("delivers although a damaged entry cannot be moved", async () => {
    await using harness = await JournalHarness.start();
    await harness.journal.append(release("a"));
    await writeFile(join(harness.dir, "damaged"), "");
    await writeFile(join(harness.dir, "000000000000001-000000.json"), "{");
    await harness.deliver();
    assert.deepEqual(harness.delivered, ["a"]);
    assert.match(harness.log.join(), /000000000000001-000000.json is damaged and cannot be moved to damaged\/: /);
  });

  it("keeps the order of a port and a sandbox behind an entry that must be retried", async () => {
    await using harness = await JournalHarness.start();
    const report = (name: string) =>
      ({ kind: "report", report: { name, epoch: 3, plane: "underlay", state: "ACTIVE" } }) as const;
    const named = { kind: "release", release: { name: "p", sandbox: { id: "s1", interface: "eth0" } } } as const;
    for (const entry of [named, report("p"), release("s1"), report("q"), release("s2")])
      await harness.journal.append(entry);
    harness.ipam.instead.push({ status: 200, body: { results: [{ problem: problem("unavailable", "locked").body }] } });
    await harness.deliver();
    assert.deepEqual([harness.ipam.reports.map(({ name }) => name), harness.delivered], [["q"], ["s2"]]);
    assert.equal((await harness.journal.list()).length, 3);
    await harness.deliver();
    assert.deepEqual(
      [harness.ipam.reports.map(({ name }) => name), harness.delivered],
      [
        ["q", "p"],
        ["s2", "s1", "s1"],
      ],
    );
  });

  it("moves finally rejected entries to damaged/, keeps those worth a retry", async () => {
    await using harness = await JournalHarness.start();
    for (const id of ["never", "later", "now"]) await harness.journal.append(release(id));
    const results = [
      { problem: problem("invalid_request", "no such host").body },
      { problem: problem("unavailable", "locked").body },
      { released: true, name: "p", deleted: true },
    ];
    harness.ipam.instead.push({ status: 200, body: { results } });
    await harness.deliver();
    assert.equal((await readdir(join(harness.dir, "damaged"))).length, 1);
    assert.equal((await harness.journal.list()).length, 1);
    assert.match(harness.log.join("\n"), /rejected \(no such host\) and moved to damaged\/\n.*rejected \(locked\)$/);
  });

  it("rejects an entry beyond its limit and names the directory", async () => {
    await using harness = await JournalHarness.start(3);
    for (const id of ["a", "b", "c"]) await harness.journal.append(release(id));
    await assert.rejects(harness.journal.append(release("d")), (error: Error) => {
      assert.ok(error.message.includes(harness.dir), error.message);
      assert.match(error.message, /it is full \(3 entries\)/);
      return true;
    });
    assert.equal((await harness.journal.list()).length, 3);
  });

  it("keeps unacknowledged entries when the IPAM breaks the connection", async () => {
    await using harness = await JournalHarness.start();
    await appendMany(harness, 130);
    harness.ipam.onRelease = ({ sandbox }) => {
      if (sandbox?.id === "s0") harness.ipam.instead.push("hang up", "hang up");
    };
    await assert.rejects(harness.deliver(), { code: "unavailable" });
    assert.equal((await harness.journal.list()).length, 30);
    await harness.deliver();
    assert.ok(harness.journal.isEmpty());
  });

  it("ignores the draft of a process that died, and deletes it when it is old", async () => {
    await using harness = await JournalHarness.start();
    await harness.journal.append(release("a"));
    for (const [name, ageS] of [
      [".000000000000001-000000.mooring-draft", 3600],
      [".000000000000002-000000.mooring-draft", 0],
    ] as const) {
      await writeFile(join(harness.dir, name), "{");
      const time = Date.now() / 1000 - ageS;
      await utimes(join(harness.dir, name), time, time);
    }
    await harness.deliver();
    assert.deepEqual(await readdir(harness.dir), [".000000000000002-000000.mooring-draft"]);
  });

  it("appends in the same millisecond as a process that died", async () => {
    await using harness = await JournalHarness.start();
    await mkdir(harness.dir, { recursive: true });
    await writeFile(join(harness.dir, ".000000001000000-000000.mooring-draft"), "{");
    await harness.journal.append(release("a"));
    await harness.deliver();
    assert.deepEqual(harness.delivered, ["a"]);
  });

  it("loses no entry of concurrent appends", async () => {
    await using harness = await JournalHarness.start();
    const ids = Array.from({ length: 50 }, (_, index) => `s${index}`);
    await Promise.all(ids.map(id => harness.journal.append(release(id))));
    await harness.deliver();
    assert.deepEqual(harness.delivered.toSorted(), ids.toSorted());
  });

  it("lets one of concurrent deliveries do the work", async () => {
    await using harness = await JournalHarness.start();
    await appendMany(harness, 20);
    await Promise.all(Array.from({ length: 10 }, () => harness.deliver()));
    assert.equal(harness.delivered.length, 20);
    assert.ok(harness.journal.isEmpty());
    assert.deepEqual(await readdir(harness.dir), []);
  });

  it("takes over the lock of a dead process, even if its pid is in use again", async () => {
    for (const [holder, delivered] of [
      ["999999999 1", 1],
      [`${process.pid} 1`, 1],
      ["damaged", 1],
      [await readOwnHolder(), 0],
    ] as const) {
      await using harness = await JournalHarness.start();
      await harness.journal.append(release("a"));
      await symlink(holder, join(harness.dir, ".delivering"));
      await harness.deliver();
      assert.equal(harness.delivered.length, delivered, holder);
    }
  });

  it("sends no request when empty or absent", async () => {
    await using harness = await JournalHarness.start();
    assert.ok(harness.journal.isEmpty());
    await harness.deliver();
    assert.deepEqual(harness.ipam.requests, []);
  });

  /** Returns the content of this process's own lock. */
  async function readOwnHolder(): Promise<string> {
    const { readFile } = await import("node:fs/promises");
    const stat = await readFile("/proc/self/stat", "utf8");
    return `${process.pid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
  }
});
