import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type {
  ActivationsResponse,
  Network,
  Port,
  PortList,
  Problem,
  PutNetworkResponse,
} from "../../../ipam-server/contract/index.ts";
import { Client, claimOf, networkOf, releaseOf } from "../client.ts";
import { ServerProcess } from "../server-process.ts";

let server: ServerProcess;
let client: Client;

before(async () => {
  server = await ServerProcess.start();
  client = new Client(server);
  const { status } = await client.send("PUT", "/v1/networks/prod-a", networkOf("prod-a", "10.100.0.0/24"));
  assert.equal(status, 201);
});
after(() => server[Symbol.asyncDispose]());

describe("HTTP API", () => {
  it("a network is created, shown, changed and deleted by name", async () => {
    const manifest = networkOf("lab", "10.200.0.0/24", { env: "lab" });
    const created = await client.send<PutNetworkResponse>("POST", "/v1/networks", manifest);
    assert.deepEqual([created.status, created.body.outcome], [201, "created"]);
    assert.equal((await client.send("POST", "/v1/networks", manifest)).status, 409);

    const again = await client.send<PutNetworkResponse>("PUT", "/v1/networks/lab", manifest);
    assert.deepEqual([again.status, again.body.outcome], [200, "unchanged"]);

    const added = await client.send<PutNetworkResponse>("POST", "/v1/networks/lab/subnets", { cidr: "10.201.0.0/24" });
    assert.deepEqual([added.status, added.body.network.subnets.length], [201, 2]);
    assert.equal((await client.send("POST", "/v1/networks/lab/subnets", { cidr: "10.201.0.0/24" })).status, 409);
    const { body } = await client.get<{ subnets: { cidr: string }[] }>("/v1/networks/lab/subnets");
    assert.deepEqual(body.subnets.map(({ cidr }) => cidr).sort(), ["10.200.0.0/24", "10.201.0.0/24"]);

    const { body: list } = await client.get<{ networks: Network[] }>("/v1/networks");
    assert.deepEqual(list.networks.map(({ name }) => name).sort(), ["lab", "prod-a"]);
    assert.equal((await client.send("DELETE", "/v1/networks/lab")).status, 204);
    assert.equal((await client.get("/v1/networks/lab")).status, 404);
  });

  it("adding a subnet leaves the other subnets unchanged", async () => {
    const manifest = networkOf("extra", "10.210.0.0/24", { env: "lab" });
    manifest.spec.subnets = [
      {
        cidr: "10.210.0.0/24",
        gateway: "10.210.0.1",
        pools: ["10.210.0.10-10.210.0.20"],
        exclude: ["10.210.0.15"],
        routes: [{ dst: "10.0.0.0/8", gw: "10.210.0.1" }],
        dns: { nameservers: ["10.0.0.53"] },
      },
      { cidr: "10.210.1.0/24", gateway: "10.210.1.1" },
    ];
    await client.send("PUT", "/v1/networks/extra", manifest);
    const { body: before } = await client.get<Network>("/v1/networks/extra");
    const added = await client.send<PutNetworkResponse>("POST", "/v1/networks/extra/subnets", {
      cidr: "fd00:210::/64",
    });
    assert.deepEqual(added.body.changes, ["subnet fd00:210::/64: added"]);
    const { body: after } = await client.get<Network>("/v1/networks/extra");
    assert.deepEqual(
      after.subnets.filter(({ ipVersion }) => ipVersion === 4),
      before.subnets,
    );
    assert.equal(after.subnets.length, 3);
    await client.send("DELETE", "/v1/networks/extra");
  });

  it("a migration's target is bound INACTIVE, and activated or dropped", async () => {
    const { port } = await client.claim(claimOf("migrate-0", 1, "node-a"));
    const claim = { ...claimOf("migrate-0", 2, "node-b"), migration: { id: "m1" } };
    const target = await client.claim(claim);
    assert.equal(target.inactive, true);
    assert.deepEqual([target.port.fixedIps, target.port.binding?.host], [port.fixedIps, "node-a"]);
    assert.deepEqual([target.port.inactiveBinding?.host, target.port.inactiveBinding?.epoch], ["node-b", 2]);

    await client.send("POST", "/v1/releases", { releases: [releaseOf(claim)] });
    const { body: back } = await client.get<Port>(`/v1/ports/${port.name}`);
    assert.deepEqual([back.binding?.host, back.inactiveBinding], ["node-a", undefined]);

    await client.claim(claim);
    const activations = [
      { name: port.name, host: "node-b", epoch: 3 },
      { name: port.name, host: "node-c" },
      { name: port.name },
    ];
    const { status, body } = await client.send<ActivationsResponse>("POST", "/v1/activations", { activations });
    assert.equal(status, 200);
    const [activated, other, invalid] = body.results;
    assert.ok(activated && "port" in activated);
    assert.deepEqual([activated.port.binding?.host, activated.port.epoch], ["node-b", 4]);
    assert.ok(other && "problem" in other && invalid && "problem" in invalid);
    assert.deepEqual([other.problem.code, other.problem.field], ["not_found", "activations[1].host"]);
    assert.deepEqual([invalid.problem.code, invalid.problem.field], ["invalid_request", "activations[2].host"]);
  });

  it("a port drifts with its pod; a late release frees nothing", async () => {
    const first = claimOf("drift-0", 1, "node-a");
    const { port } = await client.claim(first);
    assert.deepEqual([port.binding?.host, port.epoch], ["node-a", 1]);
    assert.equal(port.state, `${port.underlay}_${port.overlay}`);

    const { port: repeated } = await client.claim(first);
    assert.equal(repeated.epoch, port.epoch);

    const { port: moved } = await client.claim(claimOf("drift-0", 2, "node-b"));
    assert.deepEqual(moved.fixedIps, port.fixedIps);
    assert.deepEqual([moved.mac, moved.id, moved.binding?.host, moved.epoch], [port.mac, port.id, "node-b", 2]);

    const late = await client.release(releaseOf(first));
    assert.ok(late && "released" in late && !late.released);
    const { body: still } = await client.get<Port>("/v1/ports/c1/default/drift-0");
    assert.equal(still.binding?.host, "node-b");
  });

  it("invalid items of a batch fail alone, at their index", async () => {
    const malformed = { ...claimOf("bad-0"), host: 7 } as unknown as ReturnType<typeof claimOf>;
    const impossible = claimOf("bad-1", 1, "node-a", { networkSelector: "env=nowhere" });
    const results = await client.claims(claimOf("good-0"), malformed, impossible, claimOf("good-1"));
    const codes = results.map(result => ("problem" in result ? result.problem.code : result.port.name));
    assert.deepEqual(codes, ["c1/default/good-0", "invalid_request", "no_matching_network", "c1/default/good-1"]);
    const [, second, third] = results;
    assert.ok(second && "problem" in second && second.problem.field === "claims[1].host");
    assert.ok(third && "problem" in third && (third.problem.field ?? "claims[2].").startsWith("claims[2]."));
  });

  it("reports change plane states; an old epoch changes nothing", async () => {
    const { port } = await client.claim(claimOf("report-0"));
    const report = { name: port.name, epoch: port.epoch, plane: "underlay", state: "ACTIVE" };
    const stale = { ...report, epoch: port.epoch - 1, state: "ERROR" };
    const { body } = await client.send<{ results: unknown[] }>("POST", "/v1/reports", { reports: [report, stale] });
    assert.deepEqual(body.results, [{ applied: true }, { applied: false, reason: "stale" }]);
    const { body: after } = await client.get<Port>("/v1/ports/c1/default/report-0");
    assert.equal(after.underlay, "ACTIVE");
  });

  it("a port name may have plain or encoded slashes", async () => {
    const { port } = await client.claim(claimOf("path-0"));
    for (const path of [port.name, encodeURIComponent(port.name), "c1%2fdefault/path-0"]) {
      const { status, body } = await client.get<Port>(`/v1/ports/${path}`);
      assert.deepEqual([status, body.name], [200, port.name]);
    }
  });

  it("a protected port is deleted by no request until it is unprotected", async () => {
    const name = "/v1/ports/safe";
    const protect = (body: unknown) => client.send<Port & Problem>("PUT", name, body);
    assert.equal((await protect({ protected: true })).status, 404);
    await client.send("PUT", name, { networkSelector: "env=prod" });
    const { status, body } = await protect({ protected: true });
    assert.deepEqual([status, body.protected], [200, true]);
    const refused = await client.send<Problem>("DELETE", name);
    assert.deepEqual([refused.status, refused.body.code], [409, "conflict"]);
    assert.match(refused.body.detail, /mooringctl unprotect safe/);
    const wrong = await protect({ protected: "yes" });
    assert.deepEqual([wrong.status, wrong.body.field], [400, "protected"]);
    assert.equal((await protect({ networkSelector: "env=prod", protected: true })).status, 400);
    assert.equal((await protect({ protected: false })).body.protected, undefined);
    assert.equal((await client.send("DELETE", name)).status, 200);
  });

  it("a port is reserved before any pod and deleted with its addresses", async () => {
    const reservation = { networkSelector: "env=prod", ips: ["10.100.0.77"], deviceOwner: "baremetal:node" };
    const reserved = await client.send<Port>("PUT", "/v1/ports/db-master", reservation);
    assert.deepEqual([reserved.status, reserved.body.fixedIps[0]?.address], [201, "10.100.0.77"]);
    assert.equal((await client.send("PUT", "/v1/ports/db-master", reservation)).status, 200);
    const wanted = await client.send("PUT", "/v1/ports/db-other", reservation);
    assert.deepEqual([wanted.status, (wanted.body as { code: string }).code], [409, "address_in_use"]);

    const deleted = await client.send<Port>("DELETE", "/v1/ports/db-master");
    assert.deepEqual([deleted.status, deleted.body.name], [200, "db-master"]);
    assert.equal((await client.send("DELETE", "/v1/ports/db-master")).status, 404);
  });

  it("a port is deleted only if the given id and epoch match", async () => {
    const { port } = await client.claim(claimOf("fence-0"));
    await client.release(releaseOf(claimOf("fence-0")));
    const path = "/v1/ports/c1/default/fence-0";
    assert.equal((await client.send("DELETE", `${path}?id=another`)).status, 409);
    assert.equal((await client.send("DELETE", `${path}?epoch=${port.epoch + 1}`)).status, 409);
    assert.equal((await client.send("DELETE", `${path}?id=${port.id}&epoch=${port.epoch}`)).status, 200);
  });

  it("ports are found by host, address, MAC and state, page by page", async () => {
    const { port } = await client.claim(claimOf("find-0", 1, "node-z"));
    const [ip = assert.fail()] = port.fixedIps;
    for (const query of [
      `host=node-z`,
      `ip=${ip.address}`,
      `mac=${port.mac}`,
      `name=${encodeURIComponent(port.name)}`,
    ]) {
      const { body } = await client.get<PortList>(`/v1/ports?${query}`);
      assert.deepEqual(
        body.ports.map(({ name }) => name),
        [port.name],
        query,
      );
    }
    await client.claims(...Array.from({ length: 5 }, (_, i) => claimOf(`page-${i}`, 1, "node-p")));
    const names: string[] = [];
    for (let cursor = ""; ; ) {
      const { body } = await client.get<PortList>(`/v1/ports?host=node-p&state=bound&limit=2${cursor}`);
      names.push(...body.ports.map(({ name }) => name));
      if (body.nextCursor === undefined) break;
      cursor = `&cursor=${encodeURIComponent(body.nextCursor)}`;
    }
    assert.equal(new Set(names).size, 5);
    assert.equal(names.length, 5);
  });

  it("events are in order, and the history of an address is complete", async () => {
    const { port } = await client.claim(claimOf("history-0", 1, "node-a"));
    await client.claim(claimOf("history-0", 2, "node-b"));
    const { events, lastSeq } = await client.events(
      `?ip=${port.fixedIps[0]?.address}&port=${encodeURIComponent(port.name)}`,
    );
    assert.ok(events.length >= 2 && events.every(({ caller }) => caller.startsWith("anonymous@127.0.0.1")));
    assert.deepEqual(
      events.map(({ seq }) => seq),
      events.map(({ seq }) => seq).toSorted((a, b) => a - b),
    );
    assert.ok((events.at(-1)?.seq ?? 0) <= lastSeq);
    assert.equal(events.at(-1)?.fromHost, "node-a");
  });

  it("health, readiness, check and metrics answer", async () => {
    assert.equal((await client.get("/healthz")).status, 200);
    assert.equal((await client.get("/readyz")).status, 200);
    assert.deepEqual(await client.findings(), []);
    const { body } = await client.get<string>("/metrics");
    // PostgreSQL's log and volume are its own.
    const ofFile = [
      /mooring_database_log_bytes [1-9]\d+/,
      /mooring_database_free_bytes [1-9]\d+/,
      /mooring_database_reserve_bytes \d+/,
    ];
    const counted = [
      ...(server.database.startsWith("postgres:") ? [] : ofFile),
      /mooring_http_request_seconds_count\{route="\/v1\/claims",method="POST",status="200"\} [1-9]/,
      /mooring_commit_items_count [1-9]/,
      /mooring_commit_seconds_count [1-9]/,
      /mooring_queue_items 0/,
      /mooring_database_bytes [1-9]\d+/,
      /mooring_events_deleted_for_space_total 0/,
      /mooring_events_bytes [1-9]\d+/,
      /mooring_oldest_event_timestamp_seconds 1[7-9]\d{8}/,
      /mooring_subnet_held\{network="prod-a",subnet="10\.100\.0\.0\/24"\} [1-9]/,
      /mooring_subnet_size\{network="prod-a",subnet="10\.100\.0\.0\/24"\} 253/,
    ];
    for (const line of counted) assert.match(body, line);
  });

  it("the page at / and the OpenAPI document link to the API", async () => {
    assert.match((await client.get<string>("/")).body, /openapi\.json/);
    const { body } = await client.get<{ openapi: string; paths: object }>("/openapi.json");
    assert.equal(body.openapi, "3.1.0");
    assert.ok("/v1/claims" in body.paths && "/v1/ports/{name}" in body.paths);
  });
});
