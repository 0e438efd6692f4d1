import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { deliverJournal } from "../../../cni/journal/delivery.ts";
import type { JournalEntry } from "../../../cni/journal/entry.ts";
import { type Journal, openJournal } from "../../../cni/journal/journal.ts";
import { createIpamClient, type IpamClient } from "../../../ipam-server/client/client.ts";
import { FakeIpam, problem } from "../../fakes/ipam-server.ts";

class JournalBench implements AsyncDisposable {
  readonly dir: string;
  readonly journal: Journal;
  readonly ipam: FakeIpam;
  readonly client: IpamClient;
  readonly log: string[] = [];
  timeMs = 1_000_000;

  private constructor(dir: string, ipam: FakeIpam, maxEntries: number) {
    this.dir = join(dir, "journal");
    this.ipam = ipam;
    this.client = createIpamClient({ url: ipam.url, timeoutMs: 2000 });
    this.journal = openJournal(this.dir, { now: () => new Date(this.timeMs), maxEntries });
  }

  static async start(maxEntries = 1000): Promise<JournalBench> {
    return new JournalBench(await mkdtemp(join(tmpdir(), "mooring-journal-")), await FakeIpam.start(), maxEntries);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.ipam[Symbol.asyncDispose]();
    await rm(join(this.dir, ".."), { recursive: true, force: true });
  }

  deliver(maxBatches?: number): Promise<void> {
    const options = { host: "node-a", log: (line: string) => this.log.push(line) };
    return deliverJournal(this.journal, this.client, { ...options, ...(maxBatches !== undefined && { maxBatches }) });
  }

  /** The fake IPAM has leased it to node-a. */
  lease(name: string): void {
    const owner = { kind: "lease", uid: "l1", createdAt: "2026-11-20T08:00:00.000Z" } as const;
    this.ipam.nodeLease = { size: 1, low: 1 };
    this.ipam.decide({ name, host: "node-a", owner, networkSelector: "" });
    this.ipam.claims.length = 0;
  }

  get delivered(): (string | undefined)[] {
    return this.ipam.releases.map(({ sandbox }) => sandbox?.id);
  }
}

/** A millisecond apart, as a node writes them. */
async function appendMany(bench: JournalBench, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    bench.timeMs += 1;
    await bench.journal.append(release(`s${index}`));
  }
}

function release(id: string): JournalEntry {
  return { kind: "release", release: { host: "node-a", sandbox: { id, interface: "eth0" } } };
}

test("entries are delivered in the order in which they were written, also within one millisecond", async () => {
  await using bench = await JournalBench.start();
  const ids = Array.from({ length: 12 }, (_, index) => `s${index}`);
  for (const [index, id] of ids.entries()) {
    if (index % 5 === 4) bench.timeMs += 1;
    await bench.journal.append(release(id));
  }
  await bench.deliver();
  assert.deepEqual(bench.delivered, ids);
  assert.ok(bench.journal.isEmpty());
});

test("entries keep their order when the clock is set back", async () => {
  await using bench = await JournalBench.start();
  await bench.journal.append(release("first"));
  bench.timeMs -= 500_000;
  await bench.journal.append(release("second"));
  await bench.journal.append(release("third"));
  await bench.deliver();
  assert.deepEqual(bench.delivered, ["first", "second", "third"]);
});

test("a release whose host was not known gets the deliverer's", async () => {
  await using bench = await JournalBench.start();
  await bench.journal.append({ kind: "release", release: { sandbox: { id: "s", interface: "eth0" } } });
  await bench.deliver();
  assert.equal(bench.ipam.releases[0]?.host, "node-a");
});

test("reports and releases keep their order among one another", async () => {
  await using bench = await JournalBench.start();
  const report = { name: "p", epoch: 3, plane: "underlay", state: "ACTIVE" } as const;
  for (const entry of [release("a"), { kind: "report", report } as const, release("b")]) {
    await bench.journal.append(entry);
  }
  await bench.deliver();
  assert.deepEqual(
    bench.ipam.requests.map(({ path }) => path),
    ["/v1/releases", "/v1/reports", "/v1/releases"],
  );
  assert.deepEqual(bench.ipam.reports, [report]);
});

test("many entries travel in batches of a hundred, and one call delivers no more than its share", async () => {
  await using bench = await JournalBench.start();
  await appendMany(bench, 230);
  await bench.deliver(2);
  assert.deepEqual([bench.ipam.requests.length, bench.delivered.length], [2, 200]);
  await bench.deliver();
  assert.equal(bench.delivered.length, 230);
});

test("damaged entries are set aside, not dropped, and the others delivered", async () => {
  await using bench = await JournalBench.start();
  await bench.journal.append(release("a"));
  const damaged = [
    "",
    "{",
    '{"version":1,"kind":"release"}',
    '{"version":2}',
    '{"version":1,"kind":"report","report":{}}',
    "null",
  ];
  for (const [index, text] of damaged.entries())
    await writeFile(join(bench.dir, `00000000000000${index}-000000.json`), text);
  await bench.deliver();
  assert.deepEqual(bench.delivered, ["a"]);
  assert.equal((await readdir(join(bench.dir, "damaged"))).length, damaged.length);
  assert.equal(bench.log.length, damaged.length);
  assert.ok(bench.journal.isEmpty());
});

test("an entry that the IPAM will never take is set aside, one that it may take later stays", async () => {
  await using bench = await JournalBench.start();
  for (const id of ["never", "later", "now"]) await bench.journal.append(release(id));
  const results = [
    { problem: problem("invalid_request", "no such host").body },
    { problem: problem("unavailable", "locked").body },
    { released: true, name: "p", deleted: true },
  ];
  bench.ipam.instead.push({ status: 200, body: { results } });
  await bench.deliver();
  assert.equal((await readdir(join(bench.dir, "damaged"))).length, 1);
  assert.equal((await bench.journal.list()).length, 1);
  assert.match(bench.log.join("\n"), /refused \(no such host\) and is set aside in damaged\/\n.*refused \(locked\)$/);
});

test("the journal is bounded: beyond it an entry is refused by the directory's name", async () => {
  await using bench = await JournalBench.start(3);
  for (const id of ["a", "b", "c"]) await bench.journal.append(release(id));
  await assert.rejects(bench.journal.append(release("d")), (error: Error) => {
    assert.ok(error.message.includes(bench.dir), error.message);
    assert.match(error.message, /it is full \(3 entries\)/);
    return true;
  });
  assert.equal((await bench.journal.list()).length, 3);
});

test("an IPAM that breaks off leaves what it did not acknowledge", async () => {
  await using bench = await JournalBench.start();
  await appendMany(bench, 130);
  bench.ipam.onRelease = ({ sandbox }) => {
    if (sandbox?.id === "s0") bench.ipam.instead.push("hang up");
  };
  await assert.rejects(bench.deliver(), { code: "unavailable" });
  assert.equal((await bench.journal.list()).length, 30);
  await bench.deliver();
  assert.ok(bench.journal.isEmpty());
});

test("a process that died before acknowledging leaves a draft, which is no entry and is removed when it is old", async () => {
  await using bench = await JournalBench.start();
  await bench.journal.append(release("a"));
  for (const [name, ageS] of [
    [".000000000000001-000000.mooring-draft", 3600],
    [".000000000000002-000000.mooring-draft", 0],
  ] as const) {
    await writeFile(join(bench.dir, name), "{");
    const time = Date.now() / 1000 - ageS;
    await utimes(join(bench.dir, name), time, time);
  }
  await bench.deliver();
  assert.deepEqual(await readdir(bench.dir), [".000000000000002-000000.mooring-draft"]);
});

test("a process that died between its draft and its entry does not stop others at the same millisecond", async () => {
  await using bench = await JournalBench.start();
  await mkdir(bench.dir, { recursive: true });
  await writeFile(join(bench.dir, ".000000001000000-000000.mooring-draft"), "{");
  await bench.journal.append(release("a"));
  await bench.deliver();
  assert.deepEqual(bench.delivered, ["a"]);
});

test("appended at the same time, no entry is lost", async () => {
  await using bench = await JournalBench.start();
  const ids = Array.from({ length: 50 }, (_, index) => `s${index}`);
  await Promise.all(ids.map(id => bench.journal.append(release(id))));
  await bench.deliver();
  assert.deepEqual(bench.delivered.toSorted(), ids.toSorted());
});

test("of deliveries at the same time one does the work", async () => {
  await using bench = await JournalBench.start();
  await appendMany(bench, 20);
  await Promise.all(Array.from({ length: 10 }, () => bench.deliver()));
  assert.equal(bench.delivered.length, 20);
  assert.ok(bench.journal.isEmpty());
  assert.deepEqual(await readdir(bench.dir), []);
});

test("the lock of a process that died is taken over, even when its pid is in use again; that of a living one is not", async () => {
  for (const [holder, delivered] of [
    ["999999999 1", 1],
    [`${process.pid} 1`, 1],
    ["damaged", 1],
    [await describeSelf(), 0],
  ] as const) {
    await using bench = await JournalBench.start();
    await bench.journal.append(release("a"));
    await symlink(holder, join(bench.dir, ".delivering"));
    await bench.deliver();
    assert.equal(bench.delivered.length, delivered, holder);
  }
});

test("an empty or absent journal costs no request", async () => {
  await using bench = await JournalBench.start();
  assert.ok(bench.journal.isEmpty());
  await bench.deliver();
  assert.deepEqual(bench.ipam.requests, []);
});

/** What this process's own lock looks like. */
async function describeSelf(): Promise<string> {
  const { readFile } = await import("node:fs/promises");
  const stat = await readFile("/proc/self/stat", "utf8");
  return `${process.pid} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
}

/** A pod on node-a that was given the lease `lease:node-a/ID`. */
function claim(id: string): Extract<JournalEntry, { kind: "claim" }> {
  const owner = { kind: "pod", uid: `uid-of-${id}`, createdAt: "2026-11-20T08:00:00.000Z" } as const;
  const sandbox = { id, interface: "eth0" };
  const claim = { name: `c1/default/${id}`, leasedPort: `lease:node-a/${id}`, host: "node-a", owner, sandbox };
  const expected = { port: { id: `life-${id}`, epoch: 1, name: claim.name } };
  return { kind: "claim", claim: { ...claim, networkSelector: "" }, expected: expected as never };
}

test("claims of leases keep their place among the rest, and are told as they were written", async () => {
  await using bench = await JournalBench.start();
  for (const id of ["a", "b"]) bench.lease(`lease:node-a/${id}`);
  const order: string[] = [];
  bench.ipam.onClaim = ({ sandbox }) => void order.push(`claim ${sandbox?.id}`);
  bench.ipam.onRelease = ({ sandbox }) => void order.push(`release ${sandbox?.id}`);
  for (const entry of [claim("a"), release("a"), claim("b"), release("b")]) await bench.journal.append(entry);
  await bench.deliver();
  assert.deepEqual(order, ["claim a", "release a", "claim b", "release b"]);
  assert.equal(bench.ipam.claims[0]?.leasedPort, "lease:node-a/a");
  assert.deepEqual([bench.ipam.ports.size, bench.journal.isEmpty()], [0, true]);
});

test("what is behind a claim that cannot be told now waits with it", async () => {
  await using bench = await JournalBench.start();
  bench.lease("lease:node-a/a");
  for (const entry of [claim("a"), release("a")]) await bench.journal.append(entry);
  bench.ipam.instead.push({ status: 200, body: { results: [{ problem: problem("overloaded", "later").body }] } });
  await assert.rejects(bench.deliver(), { code: "overloaded" });
  assert.deepEqual([bench.delivered, (await bench.journal.list()).length], [[], 2]);
  await bench.deliver();
  assert.deepEqual([bench.delivered, bench.ipam.ports.size, bench.journal.isEmpty()], [["a"], 0, true]);
});

test("a claim that is refused for good is set aside, and its release still told; one the IPAM cannot judge waits", async () => {
  await using bench = await JournalBench.start();
  for (const entry of [claim("a"), release("a")]) await bench.journal.append(entry);
  bench.ipam.instead.push(problem("unauthenticated", "who are you"));
  await assert.rejects(bench.deliver(), { code: "unauthenticated" });
  assert.equal((await bench.journal.list()).length, 2);
  await bench.deliver();
  assert.equal((await readdir(join(bench.dir, "damaged"))).length, 1);
  assert.deepEqual([bench.delivered, bench.journal.isEmpty()], [["a"], true]);
  assert.match(bench.log.join(), /refused \(lease:node-a\/a is no lease any more\) and is set aside/);
});

test("a claim's entry without what it takes is damaged", async () => {
  await using bench = await JournalBench.start();
  const { claim: whole, expected } = claim("a");
  const { leasedPort: _, ...withoutLease } = whole;
  const { sandbox: __, ...withoutSandbox } = whole;
  const damaged = [
    { claim: withoutLease, expected },
    { claim: withoutSandbox, expected },
    { claim: whole },
    { claim: whole, expected: {} },
  ];
  await bench.journal.append(release("a"));
  for (const [index, entry] of damaged.entries()) {
    const text = JSON.stringify({ version: 1, kind: "claim", ...entry });
    await writeFile(join(bench.dir, `00000000000000${index}-000000.json`), text);
  }
  await bench.deliver();
  assert.equal((await readdir(join(bench.dir, "damaged"))).length, damaged.length);
  assert.deepEqual([bench.ipam.claims, bench.delivered], [[], ["a"]]);
});
