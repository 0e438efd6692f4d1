import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
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
async function appendMany(harness: JournalBench, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    harness.timeMs += 1;
    await harness.journal.append(release(`s${index}`));
  }
}

function release(id: string): JournalEntry {
  return { kind: "release", release: { host: "node-a", sandbox: { id, interface: "eth0" } } };
}

describe("the journal", () => {
  it("delivers entries in order, also those of one millisecond", async () => {
    await using harness = await JournalBench.start();
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
    await using harness = await JournalBench.start();
    await harness.journal.append(release("first"));
    harness.timeMs -= 500_000;
    await harness.journal.append(release("second"));
    await harness.journal.append(release("third"));
    await harness.deliver();
    assert.deepEqual(harness.delivered, ["first", "second", "third"]);
  });

  it("fills in the deliverer's host where a release has none", async () => {
    await using harness = await JournalBench.start();
    await harness.journal.append({ kind: "release", release: { sandbox: { id: "s", interface: "eth0" } } });
    await harness.deliver();
    assert.equal(harness.ipam.releases[0]?.host, "node-a");
  });

  it("keeps the order of reports and releases among each other", async () => {
    await using harness = await JournalBench.start();
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
    await using harness = await JournalBench.start();
    await appendMany(harness, 230);
    await harness.deliver(2);
    assert.deepEqual([harness.ipam.requests.length, harness.delivered.length], [2, 200]);
    await harness.deliver();
    assert.equal(harness.delivered.length, 230);
  });

  it("moves damaged entries to damaged/ and delivers the others", async () => {
    await using harness = await JournalBench.start();
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

  it("moves finally rejected entries to damaged/, keeps those worth a retry", async () => {
    await using harness = await JournalBench.start();
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
    assert.match(
      harness.log.join("\n"),
      /refused \(no such host\) and is set aside in damaged\/\n.*refused \(locked\)$/,
    );
  });

  it("rejects an entry beyond its limit and names the directory", async () => {
    await using harness = await JournalBench.start(3);
    for (const id of ["a", "b", "c"]) await harness.journal.append(release(id));
    await assert.rejects(harness.journal.append(release("d")), (error: Error) => {
      assert.ok(error.message.includes(harness.dir), error.message);
      assert.match(error.message, /it is full \(3 entries\)/);
      return true;
    });
    assert.equal((await harness.journal.list()).length, 3);
  });

  it("keeps unacknowledged entries when the IPAM breaks the connection", async () => {
    await using harness = await JournalBench.start();
    await appendMany(harness, 130);
    harness.ipam.onRelease = ({ sandbox }) => {
      if (sandbox?.id === "s0") harness.ipam.instead.push("hang up");
    };
    await assert.rejects(harness.deliver(), { code: "unavailable" });
    assert.equal((await harness.journal.list()).length, 30);
    await harness.deliver();
    assert.ok(harness.journal.isEmpty());
  });

  it("ignores the draft of a process that died, and deletes it when it is old", async () => {
    await using harness = await JournalBench.start();
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
    await using harness = await JournalBench.start();
    await mkdir(harness.dir, { recursive: true });
    await writeFile(join(harness.dir, ".000000001000000-000000.mooring-draft"), "{");
    await harness.journal.append(release("a"));
    await harness.deliver();
    assert.deepEqual(harness.delivered, ["a"]);
  });

  it("loses no entry of concurrent appends", async () => {
    await using harness = await JournalBench.start();
    const ids = Array.from({ length: 50 }, (_, index) => `s${index}`);
    await Promise.all(ids.map(id => harness.journal.append(release(id))));
    await harness.deliver();
    assert.deepEqual(harness.delivered.toSorted(), ids.toSorted());
  });

  it("lets one of concurrent deliveries do the work", async () => {
    await using harness = await JournalBench.start();
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
      [await describeSelf(), 0],
    ] as const) {
      await using harness = await JournalBench.start();
      await harness.journal.append(release("a"));
      await symlink(holder, join(harness.dir, ".delivering"));
      await harness.deliver();
      assert.equal(harness.delivered.length, delivered, holder);
    }
  });

  it("sends no request when empty or absent", async () => {
    await using harness = await JournalBench.start();
    assert.ok(harness.journal.isEmpty());
    await harness.deliver();
    assert.deepEqual(harness.ipam.requests, []);
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

  it("delivers claims of leases unchanged and in order", async () => {
    await using harness = await JournalBench.start();
    for (const id of ["a", "b"]) harness.lease(`lease:node-a/${id}`);
    const order: string[] = [];
    harness.ipam.onClaim = ({ sandbox }) => void order.push(`claim ${sandbox?.id}`);
    harness.ipam.onRelease = ({ sandbox }) => void order.push(`release ${sandbox?.id}`);
    for (const entry of [claim("a"), release("a"), claim("b"), release("b")]) await harness.journal.append(entry);
    await harness.deliver();
    assert.deepEqual(order, ["claim a", "release a", "claim b", "release b"]);
    assert.equal(harness.ipam.claims[0]?.leasedPort, "lease:node-a/a");
    assert.deepEqual([harness.ipam.ports.size, harness.journal.isEmpty()], [0, true]);
  });

  it("keeps the entries after a claim that cannot be delivered", async () => {
    await using harness = await JournalBench.start();
    harness.lease("lease:node-a/a");
    for (const entry of [claim("a"), release("a")]) await harness.journal.append(entry);
    harness.ipam.instead.push({ status: 200, body: { results: [{ problem: problem("overloaded", "later").body }] } });
    await assert.rejects(harness.deliver(), { code: "overloaded" });
    assert.deepEqual([harness.delivered, (await harness.journal.list()).length], [[], 2]);
    await harness.deliver();
    assert.deepEqual([harness.delivered, harness.ipam.ports.size, harness.journal.isEmpty()], [["a"], 0, true]);
  });

  it("moves a finally rejected claim to damaged/ and still delivers its release", async () => {
    await using harness = await JournalBench.start();
    for (const entry of [claim("a"), release("a")]) await harness.journal.append(entry);
    harness.ipam.instead.push(problem("unauthenticated", "who are you"));
    await assert.rejects(harness.deliver(), { code: "unauthenticated" });
    assert.equal((await harness.journal.list()).length, 2);
    await harness.deliver();
    assert.equal((await readdir(join(harness.dir, "damaged"))).length, 1);
    assert.deepEqual([harness.delivered, harness.journal.isEmpty()], [["a"], true]);
    assert.match(harness.log.join(), /refused \(lease:node-a\/a is no lease any more\) and is set aside/);
  });

  it("treats an incomplete claim as damaged", async () => {
    await using harness = await JournalBench.start();
    const { claim: whole, expected } = claim("a");
    const { leasedPort: _, ...withoutLease } = whole;
    const { sandbox: __, ...withoutSandbox } = whole;
    const damaged = [
      { claim: withoutLease, expected },
      { claim: withoutSandbox, expected },
      { claim: whole },
      { claim: whole, expected: {} },
    ];
    await harness.journal.append(release("a"));
    for (const [index, entry] of damaged.entries()) {
      const text = JSON.stringify({ version: 1, kind: "claim", ...entry });
      await writeFile(join(harness.dir, `00000000000000${index}-000000.json`), text);
    }
    await harness.deliver();
    assert.equal((await readdir(join(harness.dir, "damaged"))).length, damaged.length);
    assert.deepEqual([harness.ipam.claims, harness.delivered], [[], ["a"]]);
  });
});
