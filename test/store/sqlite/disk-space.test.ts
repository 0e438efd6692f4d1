import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { readVolume } from "../../../ipam-server/storage/sqlite/database/disk-usage.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import { assertHealthy, attach, Clock, claim, network, release } from "../support/builders.ts";
import { PlainDatabase } from "../support/plain-database.ts";
import { mountTmpfs } from "../support/tmpfs.ts";

const MIB = 1024 * 1024;
const VOLUME_BYTES = 8 * MIB;
const RESERVE_BYTES = MIB / 2;
const PODS_PER_SECOND = 33;
const POD_LIFE_SECONDS = 30;
const needsRoot = { skip: process.getuid?.() !== 0 && "needs root to mount" };

/** The claims, and after their pods' lives the releases, of one second at 33 pods a second. */
async function runSecond(store: Store, second: number): Promise<void> {
  const podsOf = (start: number) => Array.from({ length: PODS_PER_SECOND }, (_, index) => `pod-${start}-${index}`);
  const started = podsOf(second).map(pod => claim(pod, "a", pod));
  const stopped = second < POD_LIFE_SECONDS ? [] : podsOf(second - POD_LIFE_SECONDS).map(pod => release("a", pod));
  for (const outcome of await store.commit([...started, ...stopped]))
    assert.ok(!("problem" in outcome), JSON.stringify(outcome));
}

describe("SQLite on a small volume", needsRoot, () => {
  let directory = "";
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), "mooring-disk-space-"));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  async function openOnVolume(name: string, eventBytes?: number) {
    await using stack = new AsyncDisposableStack();
    const volume = stack.use(await mountTmpfs(directory, name, `size=${VOLUME_BYTES}`));
    const path = join(volume.path, "ipam.db");
    const [clock, warnings]: [Clock, string[]] = [new Clock(), []];
    const onLowSpace = (message: string) => void warnings.push(message);
    const options = { path, clock: clock.read, onLowSpace, ...(eventBytes !== undefined && { eventBytes }) };
    const store = stack.use(await openSqliteStore(options));
    await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/16" }]), "test");
    await store.collectExpired();
    await store.ready();
    const moved = stack.move();
    return { store, path, clock, warnings, [Symbol.asyncDispose]: () => moved.disposeAsync() };
  }

  /** Leaves so much of the volume to the database. */
  async function fillUp(path: string, left: number): Promise<string> {
    const filler = `${path}.filler`;
    await writeFile(filler, Buffer.alloc(readVolume(path).free - left));
    return filler;
  }

  it("accepts 33 pods a second for good, with the history in a third of it", async () => {
    await using opened = await openOnVolume("steady");
    const { store, path, clock, warnings } = opened;
    for (let second = 0; second < 500; second++) {
      await runSecond(store, second);
      clock.pass(1000);
      if (second % 60 === 0) await store.collectExpired();
    }
    const { events, eventsDeletedForSpace, reserve } = await store.readUsage();
    const { lastSeq, oldestSeq } = await store.readEvents({ limit: 1 });
    assert.ok(events > 0.9 * (VOLUME_BYTES / 3) && events < 1.1 * (VOLUME_BYTES / 3), `${events} bytes of history`);
    assert.ok(oldestSeq > 1 && lastSeq > 2 * (lastSeq - oldestSeq), "most of the history was pruned");
    assert.deepEqual([eventsDeletedForSpace, reserve], [0, RESERVE_BYTES]);
    assert.ok(readVolume(path).free > RESERVE_BYTES);
    assert.deepEqual(warnings.length, 1, warnings.join());
    await assertHealthy(store);
  });

  it("accepts changes for good by deleting old events when nothing else bounds them", async () => {
    await using opened = await openOnVolume("unbounded", 2 ** 40);
    const { store, clock, warnings } = opened;
    for (let second = 0; second < 500; second++) {
      await runSecond(store, second);
      clock.pass(1000);
    }
    await store.collectExpired();
    const { eventsDeletedForSpace = 0 } = await store.readUsage();
    const { lastSeq, oldestSeq } = await store.readEvents({ limit: 1 });
    assert.equal(eventsDeletedForSpace, oldestSeq - 1);
    assert.ok(eventsDeletedForSpace > 0 && lastSeq - oldestSeq >= 9_999, `${oldestSeq} to ${lastSeq}`);
    assert.ok(
      warnings.some(warning => /deleted \d+ of the oldest events/.test(warning)),
      warnings.join(),
    );
    await assertHealthy(store);
  });

  it("continues with its reserve when others fill the disk, and makes it again", async () => {
    await using opened = await openOnVolume("reserve");
    const { store, path, warnings } = opened;
    const reserve = `${path}.reserve`;
    const { size, blocks } = await stat(reserve);
    assert.deepEqual([size, blocks * 512], [RESERVE_BYTES, RESERVE_BYTES]);
    const filler = await fillUp(path, 0);
    let pods = 0;
    while (warnings.length < 2) await attach(store, claim(`pod-${pods}`, "a", `pod-${pods++}`));
    assert.match(warnings[1] ?? "", /disk is full; deleted its reserve to continue/);
    await assert.rejects(stat(reserve), { code: "ENOENT" });
    await store.ready();
    await store.collectExpired();
    assert.equal((await store.readUsage()).reserve, 0, "there is no space for it yet");
    await rm(filler);
    await store.collectExpired();
    assert.equal((await store.readUsage()).reserve, RESERVE_BYTES);
    assert.equal((await store.readNetwork("net")).subnets[0]?.usage.held, pods);
    await assertHealthy(store);
  });

  it("deletes old events for changes that find no space at all", async () => {
    await using opened = await openOnVolume("history", 2 ** 40);
    const { store, path } = opened;
    for (let second = 0; second < 120; second++) await runSecond(store, second);
    const filler = await fillUp(path, 0);
    for (let second = 120; second < 240; second++) await runSecond(store, second);
    const { eventsDeletedForSpace = 0 } = await store.readUsage();
    const { lastSeq, oldestSeq } = await store.readEvents({ limit: 1 });
    assert.ok(eventsDeletedForSpace > 0 && lastSeq - oldestSeq >= 9_999, `${oldestSeq} to ${lastSeq}`);
    await rm(filler);
    await assertHealthy(store);
  });

  it("reports that the reserve cannot be made, and continues", async () => {
    await using opened = await openOnVolume("no-reserve");
    const { store, path, warnings } = opened;
    await rm(`${path}.reserve`);
    await mkdir(`${path}.reserve`);
    assert.equal(await store.collectExpired(), 0);
    assert.match(warnings.at(-1) ?? "", /reserve cannot be made, retrying: .*ipam\.db\.reserve/);
    await attach(store, claim("pod", "a", "pod"));
  });

  it("acknowledges a durable change even when it cannot keep space after it", async () => {
    await using opened = await openOnVolume("no-space-kept", 2 ** 40);
    const { store, path, warnings } = opened;
    for (let second = 0; second < 120; second++) await runSecond(store, second);
    using plain = new PlainDatabase(path);
    plain.database.exec(`CREATE TRIGGER refuse BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'no deletion'); END`);
    const filler = await fillUp(path, 0);
    const isReported = () => warnings.some(warning => /cannot keep space .*, retrying: no deletion/.test(warning));
    for (let second = 120; !isReported() && second < 240; second++) await runSecond(store, second);
    assert.ok(isReported(), warnings.join());
    plain.database.exec("DROP TRIGGER refuse");
    await rm(filler);
    await assertHealthy(store);
  });

  it("stops a long read before the log that it holds fills the disk", async () => {
    await using opened = await openOnVolume("long-read");
    const { store, path } = opened;
    for (let second = 0; second < 150; second++) await runSecond(store, second);
    using reader = new PlainDatabase(path);
    reader.database.exec("BEGIN; SELECT count(*) FROM ports");
    const checking = assert.rejects(store.check(), {
      code: "unavailable",
      message: /read of the database .* was stopped because its disk is nearly full/,
    });
    // This thread does not wait between the commits, so that the check cannot end in time.
    for (let second = 150, isHigh = false; !isHigh; second++) {
      await runSecond(store, second);
      const { log = 0, free = 0 } = await store.readUsage();
      isHigh = log > free;
    }
    await checking;
    reader[Symbol.dispose]();
    await attach(store, claim("later", "a", "later"));
    await assertHealthy(store);
  });
});
