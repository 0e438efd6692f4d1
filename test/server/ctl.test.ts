import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { Claim, ClaimsResponse, PortAttachment } from "../../ipam-server/contract/index.ts";
import { ServerProcess } from "./server-process.ts";

/** mooringctl and the server as the processes they are, over a unix socket. */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const EXAMPLES = join(ROOT, "docs/examples");
const DEADLINE_MS = 30_000;

const stack = new AsyncDisposableStack();
let socketPath = "";

before(async () => {
  const directory = await mkdtemp(join(tmpdir(), `mooring-ctl-${process.pid}-`));
  stack.defer(() => rm(directory, { recursive: true }));
  socketPath = join(directory, "ipam.sock");
  const args = ["--listen", `unix:${socketPath}`, "--reuse-delay", "60s"];
  const server = stack.use(await ServerProcess.start({ args, unix: true }));
  stack.defer(async () => assert.equal(await server.stop(), 0, "the server stops in order"));
});

after(() => stack.disposeAsync());

interface CtlRun {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

async function ctl(args: readonly string[], stdin = ""): Promise<CtlRun> {
  const { MOORING_CONFIG: _config, MOORING_TIMEOUT: _timeout, ...env } = process.env;
  const child = spawn(process.execPath, ["ipam-server/ctl/main.ts", ...args], {
    cwd: ROOT,
    env: { ...env, MOORING_SERVER: `unix:${socketPath}` },
    signal: AbortSignal.timeout(DEADLINE_MS),
  });
  child.stdin.end(stdin);
  const [stdout, stderr, [exitCode]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "close"),
  ]);
  return { exitCode, stdout, stderr };
}

/** What must succeed, and its standard output. */
async function ctlOk(args: readonly string[], stdin?: string): Promise<string> {
  const run = await ctl(args, stdin);
  assert.deepEqual([run.exitCode, run.stderr], [0, ""], args.join(" "));
  return run.stdout;
}

/** A node's claim, which mooringctl cannot make. */
async function claim(claim: Partial<Claim> & Pick<Claim, "name" | "host">): Promise<PortAttachment> {
  const full: Claim = {
    networkSelector: "env=prod",
    sandbox: { id: `sandbox-${claim.host}`, interface: "eth0" },
    owner: { kind: "pod", uid: `uid-${claim.host}`, createdAt: "2026-11-20T08:00:00.000Z" },
    retention: { policy: "sticky" },
    labels: { app: "web" },
    ...claim,
  };
  const { results }: ClaimsResponse = JSON.parse(await post("/v1/claims", { claims: [full] }));
  const [result] = results;
  assert.ok(result !== undefined && !("problem" in result), JSON.stringify(result));
  return result;
}

async function post(path: string, body: unknown): Promise<string> {
  const headers = { "content-type": "application/json" };
  const call = request({ socketPath, path, method: "POST", headers, signal: AbortSignal.timeout(DEADLINE_MS) });
  call.end(JSON.stringify(body));
  const [response] = await once(call, "response");
  return text(response);
}

async function readMetric(pattern: RegExp): Promise<string | undefined> {
  const call = request({ socketPath, path: "/metrics", signal: AbortSignal.timeout(DEADLINE_MS) });
  call.end();
  const [response] = await once(call, "response");
  return pattern.exec(await text(response))?.[1];
}

describe("mooringctl against a server", () => {
  it("every example applies, and applying again changes nothing", async () => {
    const files = (await readdir(EXAMPLES)).filter(file => file.endsWith(".yaml")).map(file => join(EXAMPLES, file));
    assert.ok(files.length >= 4);
    const flags = files.flatMap(file => ["-f", file]);
    const first = (await ctlOk(["apply", ...flags])).trimEnd().split("\n");
    assert.deepEqual(first.toSorted(), [
      "network/jobs-a created",
      "network/lab-v6 created",
      "network/office created",
      "network/prod-a created",
      "network/shop-az1 created",
      "network/shop-az2 created",
      "network/tenant-b created",
    ]);
    const second = (await ctlOk(["apply", ...flags])).trimEnd().split("\n");
    assert.deepEqual(
      second,
      first.map(line => line.replace("created", "unchanged")),
    );
  });

  it("networks are listed by selector, and subnets with their size", async () => {
    const networks = JSON.parse(await ctlOk(["get", "networks", "-l", "env in (prod,lab)", "-o", "json"])).networks;
    assert.deepEqual(networks.map(({ name }: { name: string }) => name).toSorted(), ["lab-v6", "prod-a"]);
    const lines = (await ctlOk(["get", "subnets", "--network", "lab-v6"])).split("\n");
    assert.match(lines[1] ?? "", /^fd00:106::\/64 +lab-v6 +fd00:106::1 +0 +65536 +0% +0$/);
    const wrong = await ctl(["get", "networks", "-l", "env in prod"]);
    assert.equal(wrong.exitCode, 1);
    assert.match(wrong.stderr, /^mooringctl: .*"env in prod".*position 8; expected "\("/);
  });

  it("a changed document changes its network and prints the change", async () => {
    const document = (await readFile(join(EXAMPLES, "flat.yaml"), "utf8"))
      .replace("env: office", "env: office, floor: two")
      .replace("192.168.10.250", "192.168.10.240");
    const changed = await ctlOk(["apply", "-f", "-"], document);
    assert.match(changed, /^network\/office changed \(.*labels.*\)\n$/);
    assert.match(changed, /192\.168\.10\.0\/24.*pools/);
    const { networks } = parse(await ctlOk(["get", "networks", "-l", "floor=two", "-o", "yaml"]));
    assert.deepEqual(networks[0].subnets[0].pools, ["192.168.10.128-192.168.10.240"]);
  });

  it("a port is shown, traced, released with --fence and deleted", async () => {
    const name = "c1/default/web-0";
    const { port } = await claim({ name, host: "node-a" });
    const address = port.fixedIps[0]?.address ?? "";
    assert.match(
      await ctlOk(["get", "ports", "--host", "node-a", "-l", "app=web"]),
      new RegExp(`${name} .*${address}`),
    );
    assert.match(await ctlOk(["describe", "port", name]), /^Binding: +host node-a, since/m);

    const owner = { kind: "pod", uid: "uid-node-b", createdAt: "2026-11-20T09:00:00.000Z" } as const;
    const moved = await claim({ name, host: "node-b", owner });
    assert.equal(moved.port.fixedIps[0]?.address, address);

    const stale = await ctl(["release", name, "--fence", "host=node-a,sandbox=sandbox-node-a"]);
    assert.equal(stale.exitCode, 1);
    assert.match(stale.stderr, /nothing released: .* is not bound to host node-a/);
    assert.equal(JSON.parse(await ctlOk(["get", "ports", name, "-o", "json"])).binding.host, "node-b");

    assert.match(await ctlOk(["release", name]), /released from host node-b, sandbox sandbox-node-b.*and kept/);
    assert.match(await ctlOk(["release", name]), /is not bound: nothing to release/);
    assert.equal(await ctlOk(["delete", "port", name]), `port/${name} deleted\n`);

    for (const subject of [name, address, port.mac]) {
      const events = JSON.parse(await ctlOk(["trace", subject, "-o", "json"])).events;
      const types: string[] = events.map(({ type }: { type: string }) => type);
      for (const type of ["port.created", "port.moved", "port.released", "port.deleted"]) {
        assert.ok(types.includes(type), `${subject}: ${types}`);
      }
    }
    assert.match(await ctlOk(["trace", address]), /moved +c1\/default\/web-0 +node-a -> node-b/);
    const unknown = await ctl(["trace", "10.100.9.9"]);
    assert.equal(unknown.exitCode, 0);
    assert.match(unknown.stderr, /^No events of the address 10\.100\.9\.9/);
  });

  it("a port is reserved, and again without a change", async () => {
    const args = [
      ...["reserve", "rack7-host3", "--network-selector", "env=prod", "--ip", "10.100.3.7", "--ip", "fd00:100::3:7"],
      ...["--mac", "3c:ec:ef:00:12:34", "--device-owner", "baremetal:node", "--allow", "c1/databases"],
      ...["--label", "app=db"],
    ];
    assert.equal(
      await ctlOk(args),
      "port/rack7-host3 reserved (10.100.3.7,fd00:100::3:7, MAC 3c:ec:ef:00:12:34, network prod-a)\n",
    );
    assert.match(await ctlOk(args), /^port\/rack7-host3 updated/);
    const port = JSON.parse(await ctlOk(["get", "ports", "rack7-host3", "-o", "json"]));
    assert.deepEqual(port.reservation, { allowedNamespaces: ["c1/databases"], deviceOwner: "baremetal:node" });
    const taken = await ctl(["reserve", "other", "--network-selector", "env=prod", "--ip", "10.100.3.7"]);
    assert.equal(taken.exitCode, 1);
    assert.match(taken.stderr, /10\.100\.3\.7/);
  });

  it("a network in use is not deleted, and its ports are named", async () => {
    const run = await ctl(["delete", "network", "prod-a"]);
    assert.equal(run.exitCode, 1);
    assert.match(run.stderr, /rack7-host3/);
    assert.equal(await ctlOk(["delete", "network", "tenant-b"]), "network/tenant-b deleted\n");
    const gone = await ctl(["describe", "network", "tenant-b"]);
    assert.equal(gone.exitCode, 1);
    assert.match(gone.stderr, /tenant-b/);
  });

  it("a conflict is listed and counted until it is cleared, and can be traced", async () => {
    const { port } = await claim({ name: "c1/default/twice", host: "node-x", families: ["ipv4"] });
    const address = port.fixedIps[0]?.address ?? "";
    const conflict = { address, mac: "02:00:00:00:00:09" };
    const sandbox = port.binding?.sandbox;
    await post("/v1/releases", { releases: [{ host: "node-x", sandbox, unplugged: true, conflict }] });
    const conflicts = () => readMetric(new RegExp(`^mooring_address_conflicts.*"${port.network}".* (\\d+)$`, "m"));

    assert.match(await ctlOk(["get", "conflicts"]), new RegExp(`${address} +${port.network} +${conflict.mac} +node-x`));
    assert.equal(await conflicts(), "1");
    const wanted = ["--network-selector", "env=prod", "--ip", address];
    assert.match((await ctl(["reserve", "taken", ...wanted])).stderr, /used by another machine: MAC 02:00:00:00:00:09/);
    assert.match(await ctlOk(["trace", address]), /address\.conflict/);

    assert.equal(await ctlOk(["delete", "conflict", address]), `conflict/${address} cleared\n`);
    assert.equal((await ctl(["delete", "conflict", address])).exitCode, 1);
    assert.equal(await conflicts(), "0");
    assert.match(await ctlOk(["get", "conflicts", "-o", "json"]), /"conflicts": \[\]/);
  });

  it("a list longer than a page is read completely", async () => {
    await Promise.all(
      Array.from({ length: 1100 }, (_, at) => claim({ name: `c1/many/pod-${at}`, host: "node-m", families: ["ipv4"] })),
    );
    const { ports } = JSON.parse(await ctlOk(["get", "ports", "--host", "node-m", "-o", "json"]));
    assert.equal(new Set(ports.map(({ name }: { name: string }) => name)).size, 1100);
  });

  it("a closed pipe is no failure", async () => {
    const child = spawn(process.execPath, ["ipam-server/ctl/main.ts", "get", "ports", "-o", "json"], {
      cwd: ROOT,
      env: { ...process.env, MOORING_SERVER: `unix:${socketPath}` },
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
    const closed = once(child, "close");
    const stderr = text(child.stderr);
    await once(child.stdout, "readable");
    child.stdout.destroy();
    assert.deepEqual([await stderr, (await closed)[0]], ["", 0]);
  });

  it("the store is consistent and the server is ready", async () => {
    assert.match(await ctlOk(["check"]), /^Store is consistent/);
    assert.match(await ctlOk(["status"]), /^Ready: +yes\nNetworks: +6\nSubnets: +7\nAddresses: +1102 held of /);
  });
});
