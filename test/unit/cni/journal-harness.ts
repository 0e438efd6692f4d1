import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deliverJournal } from "../../../cni/journal/delivery.ts";
import type { JournalEntry } from "../../../cni/journal/entry.ts";
import { type Journal, openJournal } from "../../../cni/journal/journal.ts";
import { createIpamClient, type IpamClient } from "../../../ipam-server/client/client.ts";
import { FakeIpam } from "../../fakes/ipam-server.ts";

export class JournalHarness implements AsyncDisposable {
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

  static async start(maxEntries = 1000): Promise<JournalHarness> {
    return new JournalHarness(await mkdtemp(join(tmpdir(), "mooring-journal-")), await FakeIpam.start(), maxEntries);
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
export async function appendMany(harness: JournalHarness, count: number): Promise<void> {
  for (let index = 0; index < count; index++) {
    harness.timeMs += 1;
    await harness.journal.append(release(`s${index}`));
  }
}

export function release(id: string): JournalEntry {
  return { kind: "release", release: { host: "node-a", sandbox: { id, interface: "eth0" } } };
}

/** A pod on node-a that was given the lease `lease:node-a/ID`. */
export function claim(id: string): Extract<JournalEntry, { kind: "claim" }> {
  const owner = { kind: "pod", uid: `uid-of-${id}`, createdAt: "2026-11-20T08:00:00.000Z" } as const;
  const sandbox = { id, interface: "eth0" };
  const claim = { name: `c1/default/${id}`, leasedPort: `lease:node-a/${id}`, host: "node-a", owner, sandbox };
  const expected = { port: { id: `port-${id}`, epoch: 1, name: claim.name } };
  return { kind: "claim", claim: { ...claim, networkSelector: "" }, expected: expected as never };
}
