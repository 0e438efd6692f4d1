import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Problem } from "../../../ipam-server/contract/index.ts";
import { type Answer, Client, claimOf, isProblem, networkOf } from "../client.ts";
import { ServerProcess } from "../server-process.ts";
import { exchange, openRaw, readUntil } from "./raw.ts";

let server: ServerProcess;
let client: Client;

before(async () => {
  server = await ServerProcess.start({ args: ["--request-timeout", "500ms"] });
  client = new Client(server);
  await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/24"));
});
after(() => server[Symbol.asyncDispose]());

function assertProblem({ status, headers, body }: Answer, expected: number, code: string, detail: RegExp): Problem {
  assert.ok(isProblem(body), JSON.stringify(body));
  assert.deepEqual([status, body.status, body.code], [expected, expected, code], body.detail);
  assert.match(headers.get("content-type") ?? "", /^application\/problem\+json/);
  assert.equal(body.type, `urn:mooring:problem:${code}`);
  assert.match(body.detail, detail);
  return body;
}

const post = (body: unknown, headers?: Record<string, string>) => client.send("POST", "/v1/claims", body, headers);

describe("bad requests", () => {
  it("a body that is not JSON is refused with the reason", async () => {
    assertProblem(await post('{"claims": ['), 400, "invalid_request", /the body is not JSON: .*/);
    assertProblem(await post(""), 400, "invalid_request", /the body is empty/);
  });

  it("another content type or encoding is refused with the accepted one", async () => {
    assertProblem(
      await post("claims: []", { "Content-Type": "text/yaml" }),
      415,
      "invalid_request",
      /send application\/json/,
    );
    assertProblem(await post("x", { "Content-Encoding": "gzip" }), 415, "invalid_request", /Content-Encoding is gzip/);
  });

  it("a charset after the type is accepted", async () => {
    const { status } = await post({ claims: [] }, { "Content-Type": "application/json; charset=utf-8" });
    assert.equal(status, 200);
  });

  it("a body above the limit is refused, also if chunked", async () => {
    const big = { claims: Array.from({ length: 3 }, () => "x".repeat(500_000)) };
    assertProblem(await post(big), 413, "invalid_request", /larger than 1048576 bytes/);

    const socket = await openRaw(server.port);
    socket.write(
      "POST /v1/claims HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
    for (let i = 0; i < 20; i++) socket.write(chunk);
    socket.write("0\r\n\r\n");
    assert.match(await readUntil(socket, /"code":"invalid_request"/), /HTTP\/1.1 413/);
    socket.destroy();
  });

  it("a body that never completes gets 408", async () => {
    const socket = await openRaw(server.port);
    socket.write(
      "POST /v1/claims HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    );
    assert.match(await readUntil(socket, /"code":"invalid_request"/), /HTTP\/1.1 408/);
    assert.equal((await client.get("/healthz")).status, 200);
  });

  it("a connection cut during a body changes nothing", async () => {
    const before = await client.events();
    const body = JSON.stringify({ claims: [claimOf("cut-0")] });
    const head = `POST /v1/claims HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
    const socket = await openRaw(server.port);
    socket.end(head + body.slice(0, -1));
    await readUntil(socket, /\r\n\r\n/);
    assert.equal((await client.get("/v1/ports/c1/default/cut-0")).status, 404);
    assert.equal((await client.events()).lastSeq, before.lastSeq);
  });

  it("a request that is not HTTP gets a problem and is closed", async () => {
    assert.match(
      await exchange(server.port, "\x16\x03\x01garbage\r\n\r\n"),
      /HTTP\/1.1 400[\s\S]*"code":"invalid_request"/,
    );
    const header = `GET /healthz HTTP/1.1\r\nHost: a\r\nX: ${"x".repeat(20_000)}\r\n\r\n`;
    assert.match(await exchange(server.port, header), /HTTP\/1.1 431[\s\S]*16 KiB/);
  });

  it("unknown fields of the batch and its items are named", async () => {
    const outer = assertProblem(
      await post({ claims: [], dryRun: true }),
      400,
      "invalid_request",
      /accepted are claims/,
    );
    assert.equal(outer.field, "dryRun");
    const { body } = await post({ claims: [{ ...claimOf("x"), retention: { policy: "stick" } }] });
    const [result] = (body as { results: { problem: Problem }[] }).results;
    assert.equal(result?.problem.field, "claims[0].retention.policy");
    assert.match(
      result?.problem.detail ?? "",
      /claims\[0\]\.retention\.policy: "stick" is not one of ephemeral, sticky/,
    );
  });

  it("a label __proto__ fails its item alone, with its field", async () => {
    const odd = JSON.stringify(claimOf("proto-0")).replace(/}$/, ',"labels":{"__proto__":"x"}}');
    const { body } = await post(`{"claims": [${odd}, ${JSON.stringify(claimOf("proto-1"))}]}`);
    const { results } = body as { results: { problem?: Problem }[] };
    assert.deepEqual(
      results.map(({ problem }) => problem?.field),
      ["claims[0].labels.__proto__", undefined],
    );
  });

  it("a claim has exactly one of name and slotOf", async () => {
    const { name, ...nameless } = claimOf("either-0");
    const slotOf = { application: "c1/default/either" };
    const { body } = await post({ claims: [nameless, { ...nameless, name, slotOf }, { ...nameless, slotOf }] });
    const { results } = body as { results: { problem?: Problem; port?: { name: string; slot: number } }[] };
    assert.deepEqual(
      results.map(({ problem, port }) => problem?.field ?? [port?.name, port?.slot]),
      ["claims[0].name", "claims[1].slotOf", ["c1/default/either/0", 0]],
    );
  });

  it("a batch of more than 1000 items is refused completely", async () => {
    const claims = Array.from({ length: 1001 }, () => 0);
    assertProblem(await post({ claims }), 400, "invalid_request", /claims: a list of 1001 is too long: at most 1000/);
  });

  it("a wrong method names the accepted ones", async () => {
    const get = await client.get("/v1/claims");
    assertProblem(get, 405, "invalid_request", /accepts POST, not GET/);
    assert.equal(get.headers.get("allow"), "POST");
    const patch = await client.send("PATCH", "/v1/networks/prod-a", {});
    assertProblem(patch, 405, "invalid_request", /accepts GET, PUT, DELETE/);
    assert.equal(patch.headers.get("allow"), "GET, PUT, DELETE, HEAD");
  });

  it("unknown paths are not found", async () => {
    for (const path of ["/v2/claims", "/v1/Claims", "/v1/claims/", "/v1", "/v1/networks/a/b/c", "/v1/ports/"]) {
      assertProblem(await client.send("POST", path, {}), 404, "not_found", /there is nothing at/);
    }
  });

  it("a path whose percent signs are wrong is refused", async () => {
    for (const path of ["/v1/ports/%zz", "/v1/networks/%E0%A4%A"]) {
      assertProblem(await client.get(path), 400, "invalid_request", /percent signs/);
    }
  });

  it("names in the path are validated", async () => {
    assertProblem(await client.get("/v1/ports/a%20b"), 400, "invalid_request", /name: "a b" is not a port name/);
    assertProblem(await client.get("/v1/networks/a%2Fb"), 400, "invalid_request", /name: "a\/b" is not a network name/);
  });

  it("query parameters are validated", async () => {
    const faults: [string, string, RegExp][] = [
      ["/v1/ports?hots=a", "hots", /unknown field; accepted are name, network, host/],
      ["/v1/ports?limit=0", "limit", /at least 1/],
      ["/v1/ports?limit=1001", "limit", /at most 1000/],
      ["/v1/ports?limit=ten", "limit", /"ten" is not a number/],
      ["/v1/ports?cluster=a:b", "cluster", /is not a cluster name: 1 to 63 of A-Z a-z 0-9/],
      ["/v1/ports?host=a&host=b", "host", /is given 2 times/],
      ["/v1/ports?state=UP", "state", /bound, unbound or a pair/],
      ["/v1/ports?ip=10.0.0", "ip", /is not an IPv4 or IPv6 address/],
      ["/v1/events?type=port.bound,port.flown", "type[1]", /"port.flown" is not one of network.created/],
      ["/v1/networks?limit=1", "limit", /unknown field; accepted are label/],
      ["/v1/check?limit=1", "limit", /accepts none/],
    ];
    for (const [path, field, detail] of faults) {
      assert.equal(assertProblem(await client.get(path), 400, "invalid_request", detail).field, field, path);
    }
  });

  it("an invalid label query is an invalid request", async () => {
    for (const path of ["/v1/ports?label=a%20in%20(", "/v1/networks?label=a%20in%20("]) {
      assert.equal(assertProblem(await client.get(path), 400, "invalid_request", /a in \(/).field, "label");
    }
    const { body } = await post({ claims: [claimOf("x", 1, "node-a", { networkSelector: "a in (" })] });
    const [result] = (body as { results: { problem: Problem }[] }).results;
    assert.equal(result?.problem.field, "claims[0].networkSelector");
  });

  it("a network's name in path and body must agree", async () => {
    const answer = await client.send("PUT", "/v1/networks/prod-b", networkOf("prod-c", "10.101.0.0/24"));
    assert.equal(assertProblem(answer, 400, "invalid_request", /is not the name in the path/).field, "metadata.name");
  });

  it("invalid networks are refused with the field and change nothing", async () => {
    const before = await client.get("/v1/networks");
    const withSubnet = (subnet: object) => {
      const manifest = networkOf("odd", "10.150.0.0/24");
      return { ...manifest, spec: { ...manifest.spec, subnets: [subnet] } };
    };
    const subnets = [
      { cidr: "10.150.0.5/24" },
      { cidr: "nonsense" },
      { cidr: "10.150.0.0/24", gateway: "10.151.0.1" },
      { cidr: "10.150.0.0/24", pools: ["10.151.0.1-10.151.0.9"] },
      { cidr: "10.150.0.0/24", pools: ["10.150.0.9-10.150.0.1"] },
      { cidr: "10.150.0.0/24", exclude: ["x"] },
      { cidr: "10.150.0.0/24", routes: [{ dst: "x" }] },
    ];
    for (const subnet of subnets) {
      const answer = await client.send("PUT", "/v1/networks/odd", withSubnet(subnet));
      const { field } = assertProblem(answer, 400, "invalid_request", /./);
      assert.match(field ?? "", /^spec\.subnets\[0\]\./, JSON.stringify(subnet));
    }
    const overlapping = await client.send("PUT", "/v1/networks/odd", networkOf("odd", "10.100.0.0/25"));
    assert.equal(overlapping.status, 409, JSON.stringify(overlapping.body));
    assert.deepEqual((await client.get("/v1/networks")).body, before.body);
  });

  it("an invalid deadline is refused", async () => {
    for (const deadline of ["soon", "0", "-5", "1.5", "999999999999"]) {
      const answer = await post({ claims: [] }, { "Mooring-Deadline-Ms": deadline });
      assertProblem(answer, 400, "invalid_request", /whole number of milliseconds/);
    }
  });

  it("an unavailable server sends Retry-After", async () => {
    await using small = await ServerProcess.start({ args: ["--max-queue", "1"] });
    const busy = new Client(small);
    const claims = Array.from({ length: 1000 }, (_, i) => claimOf(`busy-${i}`));
    const deadline = Date.now() + 20_000;
    let refused: Answer[] = [];
    // Requests are refused only when two arrive between commits, which no client can be sure of.
    while (refused.length === 0 && Date.now() < deadline) {
      const answers = await Promise.all(Array.from({ length: 24 }, () => busy.send("POST", "/v1/claims", { claims })));
      refused = answers.filter(({ status }) => status === 503);
      assert.ok(answers.some(({ status }) => status === 200));
    }
    assert.ok(refused.length > 0, "no request met a full queue");
    for (const answer of refused) {
      assertProblem(answer, 503, "overloaded", /changes are waiting \(--max-queue 1\)/);
      assert.equal(answer.headers.get("retry-after"), "1");
    }
  });

  it("none of these requests was logged as an internal error", () => {
    assert.deepEqual(
      server.log.filter(line => /"level":(50|60)/.test(line)),
      [],
    );
  });
});
