import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { createAgentIpam } from "../../../../cni/agent/ipam/agent-ipam.ts";
import { createHeaders } from "../../../../ipam-server/client/credentials.ts";
import { FakeIpam, problem } from "../../../fakes/ipam-server.ts";

describe("AgentIpam", () => {
  it("reloads a changed token file, and names it in the error when unreadable", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mooring-token-"));
    const file = join(dir, "token");
    try {
      await writeFile(file, "first\n");
      const fresh = createHeaders(file, 0);
      const kept = createHeaders(file, 60_000);
      assert.deepEqual(await fresh(), { authorization: "Bearer first" });
      assert.deepEqual(await kept(), { authorization: "Bearer first" });
      await writeFile(file, "second\n");
      assert.deepEqual(await fresh(), { authorization: "Bearer second" });
      assert.deepEqual(await kept(), { authorization: "Bearer first" });
      await rm(file);
      await assert.rejects(fresh(), { code: "unavailable", message: /token/ });
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it("finds a token file that appears after the first request", async () => {
    const dir = await mkdtemp(join(tmpdir(), "mooring-token-"));
    const tokenFile = join(dir, "token");
    try {
      await using fake = await FakeIpam.start();
      await using ipam = createAgentIpam({ url: fake.url, tokenFile, timeoutMs: 300 });
      await assert.rejects(ipam.ready(), { code: "unavailable", message: /token/ });
      await writeFile(tokenFile, "there\n");
      await ipam.ready();
    } finally {
      await rm(dir, { recursive: true, force: true });
    }
  });

  it("fails one bad item alone, and batches releases of the same retry policy", async () => {
    await using fake = await FakeIpam.start();
    await using ipam = createAgentIpam({ url: fake.url, timeoutMs: 1000 });
    fake.instead.push({
      status: 200,
      body: { results: [{ released: true, name: "a", deleted: true }, { problem: problem("conflict", "no").body }] },
    });
    const release = (id: string) => ({ host: "n", sandbox: { id, interface: "eth0" } });
    const policy = { timeoutMs: 500, retries: 0 };
    const [good, bad] = await Promise.all([ipam.release([release("a")], policy), ipam.release([release("b")], policy)]);
    assert.deepEqual(good, [{ released: true, name: "a", deleted: true }]);
    assert.ok(bad[0] !== undefined && "problem" in bad[0]);
    assert.equal(fake.requests.length, 1);
  });

  it("reports when the IPAM is reachable again; an error answer counts as reachable", async () => {
    await using fake = await FakeIpam.start();
    let backs = 0;
    await using ipam = createAgentIpam({ url: fake.url, timeoutMs: 1000 });
    ipam.onReachable(() => backs++);
    fake.instead.push("hang up");
    await assert.rejects(ipam.ready());
    assert.equal(ipam.isReachable, false);
    await assert.rejects(ipam.readPort("none"), { code: "not_found" });
    assert.deepEqual([ipam.isReachable, backs], [true, 1]);
  });

  it("rejects alone the claim that invalidates its batch", async () => {
    await using fake = await FakeIpam.start();
    await using ipam = createAgentIpam({ url: fake.url, timeoutMs: 1000 });
    fake.refuseRequest = ({ name }) => name === "p3";
    const owner = { kind: "pod", uid: "u", createdAt: "2026-11-20T08:00:00.000Z" } as const;
    const claims = Array.from({ length: 7 }, (_, index) =>
      ipam.claim({ name: `p${index}`, host: "n", owner, networkSelector: "" }),
    );
    const outcomes = await Promise.allSettled(claims);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ["fulfilled", "fulfilled", "fulfilled", "rejected", "fulfilled", "fulfilled", "fulfilled"],
    );
    assert.equal(outcomes[3]?.status === "rejected" && outcomes[3].reason.code, "invalid_request");
  });
});
