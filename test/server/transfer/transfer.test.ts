import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Problem } from "../../../ipam-server/contract/index.ts";
import { runCtl } from "../../unit/ctl/fake-io.ts";
import { Client, claimOf, networkOf, releaseOf } from "../client.ts";
import { runCtlProcess } from "../ctl-process.ts";
import { makeDatabase, ServerProcess } from "../server-process.ts";

const PORTS = 3000;
const NOWHERE = "http://127.0.0.1:1";

let directory = "";
let source: ServerProcess;
let client: Client;
const at = (name: string) => join(directory, name);

before(async () => {
  directory = await mkdtemp(join(tmpdir(), `mooring-transfer-${process.pid}-`));
  source = await ServerProcess.start({ database: await makeDatabase(at("source.db")), args: ["--reuse-delay", "0ms"] });
  client = new Client(source);
  await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/16"));
  await client.send("PUT", "/v1/networks/small", networkOf("small", "10.101.0.0/29", { env: "small" }));
  for (let from = 0; from < PORTS; from += 1000) {
    await client.claims(...Array.from({ length: 1000 }, (_, i) => claimOf(`pod-${from + i}`)));
  }
  const small = { networkSelector: "env=small", retention: { policy: "ephemeral" } } as const;
  for (const pod of ["a", "b", "c", "d", "e"]) await client.claim(claimOf(pod, 1, "node-a", small));
  for (const pod of ["c", "a"]) await client.release(releaseOf(claimOf(pod)));
});
after(async () => {
  await source?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true });
});

const fresh = async (name: string, ...args: string[]) =>
  ServerProcess.start({ database: await makeDatabase(at(name)), args: ["--reuse-delay", "0ms", ...args] });

describe("export and import", () => {
  it("export and import print one digest, and addresses continue", async () => {
    const file = at("moved.jsonl");
    const exported = await runCtlProcess(source.url, "export", file);
    assert.deepEqual([exported.exitCode, exported.stderr], [0, ""]);
    const [, digest = ""] = /digest (sha256:[0-9a-f]{64})\n$/.exec(exported.stdout) ?? [];
    assert.ok(digest);

    await using target = await fresh("target.db");
    const imported = await runCtlProcess(target.url, "import", file);
    assert.deepEqual([imported.exitCode, imported.stderr], [0, ""]);
    assert.equal(imported.stdout, `imported 2 networks, ${PORTS + 3} ports, 2 freed addresses\ndigest ${digest}\n`);
    for (const server of [source, target]) {
      assert.equal((await runCtlProcess(server.url, "export", "--digest")).stdout, `${digest}\n`);
    }
    const other = new Client(target);
    assert.deepEqual(await other.findings(), []);
    assert.deepEqual(await other.allPorts(), await client.allPorts());
    assert.deepEqual((await other.get("/v1/networks")).body, (await client.get("/v1/networks")).body);

    const small = { networkSelector: "env=small" };
    for (const claim of [claimOf("next"), claimOf("queued-1", 1, "b", small), claimOf("queued-2", 1, "b", small)]) {
      const [there, here] = [await other.claim(claim), await client.claim(claim)];
      assert.deepEqual(there.port.fixedIps, here.port.fixedIps);
      assert.equal(there.port.mac, here.port.mac);
    }
    assert.deepEqual(await other.findings(), []);

    // Databases that differ have different digests.
    await other.release(releaseOf(claimOf("next")));
    assert.notEqual((await runCtl(["export", "--digest"], { server: target.url })).stdout, `${digest}\n`);
  });

  it("an export under load is of one point in time", async () => {
    let stop = false;
    let claimed = 0;
    const load = (async () => {
      for (let i = 0; !stop; i++, claimed++) {
        await client.claim(claimOf(`busy-${i % 50}`, i + 1, `node-${i}`));
        if (i % 2) await client.release(releaseOf(claimOf(`busy-${i % 50}`, i + 1, `node-${i}`)));
      }
    })();
    const file = at("busy.jsonl");
    const exported = await runCtlProcess(source.url, "export", file);
    stop = true;
    await load;
    assert.deepEqual([exported.exitCode, exported.stderr], [0, ""]);
    assert.ok(claimed > 0, "claims succeed during the export");
    await using target = await fresh("busy-target.db");
    const imported = await runCtl(["import", file], { server: target.url });
    assert.deepEqual([imported.exitCode, imported.stderr], [0, ""]);
    assert.deepEqual(await new Client(target).findings(), []);
    assert.deepEqual(
      (await readdir(directory)).filter(name => /copy|partial/.test(name)),
      [],
      "nothing is left",
    );
  });

  describe("a refused import changes nothing", () => {
    let target: ServerProcess;
    let text = "";
    before(async () => {
      target = await fresh("empty.db");
      await runCtl(["export", at("good.jsonl")], { server: source.url });
      text = await readFile(at("good.jsonl"), "utf8");
    });
    after(() => target[Symbol.asyncDispose]());

    const WRONG: [what: string, change: (text: string) => string, message: RegExp][] = [
      ["no export", () => "kind: Network\n", /line 1: is not JSON/],
      ["a newer format", all => all.replace('"format":1', '"format":9'), /line 1: format 9 is newer/],
      ["a cut off file", all => all.slice(0, all.length >> 1), /line \d{4}: .*cut off.*nothing was imported/],
      ["a changed address", all => all.replace("10.100.0.9", "10.100.255.9"), /line \d+: .*checksum/],
      ["an unknown field", all => all.replace('"epoch":1', '"vni":7,"epoch":1'), /line 4: vni: unknown field/],
      [
        "a port's second row",
        all => all.replace(/\n(\{"kind":"port".*)\n/, "\n$1\n$1\n"),
        /line 5: key: 1 is not greater/,
      ],
      [
        "a name of two ports, reported after later rows",
        all => all.replace('"name":"c1/default/pod-7"', '"name":"c1/default/pod-6"'),
        /line 11: port c1\/default\/pod-6 duplicates an earlier row/,
      ],
    ];
    for (const [what, change, message] of WRONG) {
      it(what, async () => {
        await writeFile(at("wrong.jsonl"), change(text));
        const run = await runCtl(["import", at("wrong.jsonl")], { server: target.url });
        assert.deepEqual([run.exitCode, run.stdout], [1, ""]);
        assert.match(run.stderr, message);
        assert.deepEqual((await new Client(target).get("/v1/networks")).body, { networks: [] });
        assert.equal((await new Client(target).get("/readyz")).status, 200);
      });
    }

    it("anything into a store that is not empty", async () => {
      const run = await runCtl(["import", at("good.jsonl")], { server: source.url });
      assert.equal(run.exitCode, 1);
      assert.match(run.stderr, /the store is not empty \(networks: 2, ports: \d+/);
    });

    it("a body of another type, and an aborted one", async () => {
      const { status, body } = await new Client(target).send<Problem>("POST", "/v1/import", {});
      assert.deepEqual([status, body.code], [415, "invalid_request"]);
      const leaving = new AbortController();
      const half = new ReadableStream({
        start(controller) {
          controller.enqueue(Buffer.from(text.slice(0, text.length >> 1)));
          setImmediate(() => leaving.abort());
        },
      });
      const init = { method: "POST", body: half, duplex: "half", headers: { "content-type": "application/jsonl" } };
      await assert.rejects(fetch(`${target.url}/v1/import`, { ...init, signal: leaving.signal } as RequestInit));
      const deadline = AbortSignal.timeout(20_000);
      while ((await new Client(target).get("/readyz")).status !== 200) deadline.throwIfAborted();
      assert.deepEqual((await new Client(target).get("/v1/networks")).body, { networks: [] });
    });

    it("a valid export is imported afterwards", async () => {
      assert.equal((await runCtl(["import", at("good.jsonl")], { server: target.url })).exitCode, 0);
    });
  });

  it("an import may take longer than the request timeout", async () => {
    await using server = await fresh("slow.db", "--request-timeout", "200ms");
    await runCtl(["export", at("slow.jsonl")], { server: source.url });
    const text = await readFile(at("slow.jsonl"), "utf8");
    const slow = Readable.from(
      (async function* () {
        yield text.slice(0, 1000);
        // The slowness is what is tested: it lasts through several looks of the server at its clock.
        await sleep(1000);
        yield text.slice(1000);
      })(),
    );
    const init = { method: "POST", body: slow, duplex: "half", headers: { "content-type": "application/jsonl" } };
    const response = await fetch(`${server.url}/v1/import`, init as unknown as RequestInit);
    assert.equal(response.status, 200, await response.text());
  });

  it("files are overwritten only with --force, checked before any call", async () => {
    await writeFile(at("mine.jsonl"), "mine");
    const ask = async (...args: string[]) => runCtl(args, { server: NOWHERE });
    assert.match((await ask("export", at("mine.jsonl"))).stderr, /mine\.jsonl exists already/);
    assert.match((await ask("export")).stderr, /either a FILE to save the export in, or --digest/);
    assert.match((await ask("export", "x", "--digest")).stderr, /either a FILE/);
    assert.match((await ask("import", at("none.jsonl"))).stderr, /cannot read .*none\.jsonl/);
    assert.match((await ask("import", directory)).stderr, /cannot read .*directory/);
    assert.equal((await ask("export", at("new.jsonl"))).exitCode, 3);
    assert.equal(await readFile(at("mine.jsonl"), "utf8"), "mine");
  });
});
