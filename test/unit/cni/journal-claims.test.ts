import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { deliverJournal } from "../../../cni/journal/delivery.ts";
import { createIpamClient } from "../../../ipam-server/client/client.ts";
import type { Claim } from "../../../ipam-server/contract/index.ts";
import { problem } from "../../fakes/ipam-server.ts";
import { claim, JournalHarness, release } from "./journal-harness.ts";

describe("the journal of leased claims", () => {
  it("delivers claims of leases unchanged and in order", async () => {
    await using harness = await JournalHarness.start();
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

  it("keeps only the release of a claim that must be retried, not other pods' entries", async () => {
    await using harness = await JournalHarness.start();
    for (const id of ["a", "b"]) harness.lease(`lease:node-a/${id}`);
    for (const entry of [claim("a"), release("a"), claim("b"), release("b"), release("c")])
      await harness.journal.append(entry);
    harness.ipam.instead.push({ status: 200, body: { results: [{ problem: problem("internal", "a bug").body }] } });
    await assert.rejects(harness.deliver(), { code: "internal" });
    assert.deepEqual([harness.delivered, (await harness.journal.list()).length], [["b", "c"], 2]);
    await harness.deliver();
    assert.deepEqual([harness.delivered, harness.journal.isEmpty()], [["b", "c", "a"], true]);
  });

  it("sends nothing more once the IPAM is unreachable", async () => {
    await using harness = await JournalHarness.start();
    for (const id of ["a", "b"]) harness.lease(`lease:node-a/${id}`);
    for (const entry of [claim("a"), release("c"), claim("b")]) await harness.journal.append(entry);
    const client = createIpamClient({ url: "http://127.0.0.1:9", timeoutMs: 200 });
    await using _ = client;
    const claims: string[] = [];
    const counted = {
      ...client,
      claim: (each: Claim) => {
        claims.push(each.name ?? "");
        return client.claim(each);
      },
    };
    await assert.rejects(deliverJournal(harness.journal, counted, { host: "node-a", log: () => {} }), {
      code: "unavailable",
    });
    assert.deepEqual([claims, (await harness.journal.list()).length], [["c1/default/a"], 3]);
  });

  it("keeps the entries after a claim that cannot be delivered", async () => {
    await using harness = await JournalHarness.start();
    harness.lease("lease:node-a/a");
    for (const entry of [claim("a"), release("a")]) await harness.journal.append(entry);
    harness.ipam.instead.push({ status: 200, body: { results: [{ problem: problem("overloaded", "later").body }] } });
    await assert.rejects(harness.deliver(), { code: "overloaded" });
    assert.deepEqual([harness.delivered, (await harness.journal.list()).length], [[], 2]);
    await harness.deliver();
    assert.deepEqual([harness.delivered, harness.ipam.ports.size, harness.journal.isEmpty()], [["a"], 0, true]);
  });

  it("moves a finally rejected claim to damaged/ and still delivers its release", async () => {
    await using harness = await JournalHarness.start();
    for (const entry of [claim("a"), release("a")]) await harness.journal.append(entry);
    harness.ipam.instead.push(problem("unauthenticated", "who are you"));
    await assert.rejects(harness.deliver(), { code: "unauthenticated" });
    assert.equal((await harness.journal.list()).length, 2);
    await harness.deliver();
    assert.equal((await readdir(join(harness.dir, "damaged"))).length, 1);
    assert.deepEqual([harness.delivered, harness.journal.isEmpty()], [["a"], true]);
    assert.match(harness.log.join(), /rejected \(lease:node-a\/a is no lease any more\) and moved to damaged/);
  });

  it("treats an incomplete claim as damaged", async () => {
    await using harness = await JournalHarness.start();
    const { claim: complete, expected } = claim("a");
    const { leasedPort: _, ...withoutLease } = complete;
    const { sandbox: __, ...withoutSandbox } = complete;
    const damaged = [
      { claim: withoutLease, expected },
      { claim: withoutSandbox, expected },
      { claim: complete },
      { claim: complete, expected: {} },
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
