import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ERROR_CODES, type Problem } from "../../ipam-server/contract/index.ts";
import { openRaw, readUntil } from "../server/api/raw.ts";
import { Client, claimOf, isProblem, networkOf } from "../server/client.ts";
import { seededRandom } from "../server/lifecycle/recorder.ts";
import { ServerProcess } from "../server/server-process.ts";

const REQUESTS = 1000;
const RAW_REQUESTS = 150;

const JUNK: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  0.5,
  "",
  " ",
  "\0",
  "💥",
  "a/../b",
  "x".repeat(5000),
  "__proto__",
  "10.100.0.0/33",
  "fd00::/-1",
  "env in (",
  [],
  {},
  [[]],
  { __proto__: null, constructor: 1 },
];
const PATHS = ["/v1/claims", "/v1/releases", "/v1/reports", "/v1/networks", "/v1/networks/prod-a", "/v1/ports/x/y"];
const QUERIES = ["limit", "cursor", "label", "state", "ip", "mac", "after", "type", "name", "host"];

describe("HTTP fuzzing", () => {
  it("any request gets a result or a closed problem, never an internal error", async t => {
    const seed = Number(process.env.MOORING_TEST_SEED ?? Date.now() % 1_000_000);
    t.diagnostic(`seed ${seed} (MOORING_TEST_SEED repeats it)`);
    const random = seededRandom(seed);
    const pick = <T>(choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T;

    /** A good document with a few of its values replaced, removed or added. */
    const mutate = (value: unknown, depth = 0): unknown => {
      if (random() < 0.06) return pick(JUNK);
      if (Array.isArray(value)) return value.map(each => mutate(each, depth + 1));
      if (typeof value !== "object" || value === null) return value;
      const entries = Object.entries(value)
        .filter(() => random() > 0.03)
        .map(([key, each]) => [key, mutate(each, depth + 1)]);
      if (random() < 0.03) entries.push([JSON.stringify(pick(JUNK)), pick(JUNK)]);
      return Object.fromEntries(entries);
    };

    const claim = () => claimOf(`p-${Math.floor(random() * 20)}`, Math.floor(random() * 5), pick(["node-a", "node-b"]));
    const bodies: (() => unknown)[] = [
      () => ({ claims: [claim(), claim()] }),
      () => ({ releases: [{ host: "node-a", sandbox: claim().sandbox }] }),
      () => ({ reports: [{ name: claim().name, epoch: 1, plane: "underlay", state: "ACTIVE" }] }),
      () => networkOf("prod-a", "10.100.0.0/24"),
      () => ({ networkSelector: "env=prod", ips: ["10.100.0.9"], labels: { a: "b" } }),
    ];

    await using server = await ServerProcess.start({ args: ["--request-timeout", "1s"] });
    const client = new Client(server);
    await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/24"));

    for (let i = 0; i < REQUESTS; i++) {
      const method = pick(["GET", "POST", "POST", "PUT", "DELETE"]);
      const query =
        random() < 0.3 ? `?${pick(QUERIES)}=${encodeURIComponent(JSON.stringify(pick(JUNK)).slice(0, 500))}` : "";
      const path = pick(PATHS) + query;
      const text = JSON.stringify(mutate(pick(bodies)()));
      const cut = random() < 0.05 ? text.slice(0, Math.floor(random() * text.length)) : text;
      const body = method === "GET" || method === "DELETE" ? undefined : cut;
      const { status, body: answer } = await client.send(method, path, body);
      const about = `${method} ${path} ${body}: ${status} ${JSON.stringify(answer)}`;
      if (status >= 400) assertClosed(answer, about);
      for (const result of resultsOf(answer)) if (result.problem) assertClosed(result.problem, about);
    }

    for (let i = 0; i < RAW_REQUESTS; i++) {
      const socket = await openRaw(server.port);
      const good =
        'POST /v1/claims HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"claims":[]}';
      const bytes = Buffer.from(good);
      for (let flips = 0; flips < 3; flips++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      socket.end(bytes.subarray(0, Math.ceil(random() * bytes.length)));
      const answer = await readUntil(socket, /\r\n\r\n[\s\S]*\}$/);
      assert.doesNotMatch(answer, /^HTTP\/1\.1 5/, JSON.stringify(bytes.toString("latin1")));
      socket.destroy();
    }

    assert.equal((await client.get("/readyz")).status, 200);
    assert.deepEqual(await client.findings(), []);
    assert.deepEqual(
      server.log.filter(line => /"level":(50|60)/.test(line)),
      [],
    );
  });

  function assertClosed(problem: unknown, about: string): void {
    assert.ok(isProblem(problem), about);
    assert.ok(Object.hasOwn(ERROR_CODES, problem.code) && problem.code !== "internal", about);
    assert.ok(problem.detail.length < 2000, about);
  }

  function resultsOf(answer: unknown): { problem?: Problem }[] {
    if (typeof answer !== "object" || answer === null || !("results" in answer)) return [];
    return answer.results as { problem?: Problem }[];
  }
});
