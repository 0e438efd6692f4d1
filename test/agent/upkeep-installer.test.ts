import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { pino } from "pino";
import { Installer, type InstallerOptions } from "../../cni/agent/install/installer.ts";
import { AgentMetrics } from "../../cni/agent/metrics.ts";
import { KubeApi } from "../../ipam-server/kube/kube-api.ts";
import { waitFor } from "../../scripts/lab/command.ts";
import { FakeKubeApi } from "../fakes/k8s-api.ts";

const SETS = "/apis/apps/v1/daemonsets";
const SPACES = "/api/v1/namespaces";
const OWN = { namespace: "mooring-system", name: "mooring-agent" };
const root = mkdtempSync(join(tmpdir(), "mooring-installer-"));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;

describe("an agent that installs", () => {
  let kube: FakeKubeApi;
  let server: Server | undefined;
  let dir: string;
  let removedBridges: number;
  let nodeReady: PromiseWithResolvers<void>;

  before(async () => {
    kube = await FakeKubeApi.start([SETS, SPACES]);
  });
  after(() => kube[Symbol.asyncDispose]());
  beforeEach(() => {
    dir = join(root, String(count++));
    for (const name of ["bin", "conf", "home", "build/lib", "build/bin"])
      mkdirSync(join(dir, name), { recursive: true });
    for (const name of ["mooring", "package.json", "lib/koffi.node", "bin/node"])
      writeFileSync(join(dir, "build", name), "#!x\n");
    kube.put(SETS, { metadata: OWN });
    kube.put(SPACES, { metadata: { name: OWN.namespace, namespace: "" } });
    removedBridges = 0;
    nodeReady = Promise.withResolvers();
  });
  afterEach(async () => {
    kube.faults.clear();
    await new Promise<void>(resolve => (server ? server.close(() => resolve()) : resolve()));
    server = undefined;
  });

  const socket = () => join(dir, "agent.sock");
  const serve = () => {
    const made = createServer(connection =>
      connection.on("data", () => connection.end('{"stdout":"","exitCode":0}\n')),
    );
    server = made;
    return new Promise<void>(resolve => made.listen(socket(), resolve));
  };
  const install = () => {
    const config = { socket: socket(), bridge: "br-int", ovsdb: "unix:/db.sock", journalDir: "/j", daemonSet: OWN };
    const context = {
      config,
      api: new KubeApi(kube.kubeConfig(), 1000),
      datapath: { removeOwnBridges: async () => ({ removed: [`${++removedBridges}`], kept: [] }) },
      log: pino({ level: "silent" }),
      metrics: new AgentMetrics(),
    } as unknown as InstallerOptions["context"];
    const places = {
      bin: join(dir, "bin"),
      conf: join(dir, "conf"),
      home: join(dir, "home"),
      hostHome: "/opt/mooring",
    };
    const source = { folder: join(dir, "build"), node: join(dir, "build/bin/node") };
    return new Installer({ context, source, places, nodeReady: nodeReady.promise });
  };
  const files = () => ["bin", "conf", "home"].flatMap(name => readdirSync(join(dir, name))).sort();
  const isInstalled = () => waitFor("the configuration", () => files().includes("10-mooring.conflist"));
  const answered = () =>
    waitFor("the DaemonSet to be looked at", () => kube.requests.some(line => line.includes("daemonsets")));
  const installAll = async () => {
    kube.requests.length = 0;
    nodeReady.resolve();
    await serve();
    const installer = install();
    await isInstalled();
    await answered();
    return installer;
  };
  const isNamespaceWatch = (line: string) => line.includes("/namespaces?") && line.includes("watch=true");
  const ALL = ["10-mooring.conflist", "current", "mooring", "versions"];

  it("writes the configuration last, once bridges and socket are ready", async () => {
    const installer = install();
    await waitFor("the executable", () => files().includes("mooring"));
    await serve();
    assert.deepEqual(files(), ["current", "mooring", "versions"], "the bridges are not there yet");
    nodeReady.resolve();
    await isInstalled();
    await installer[Symbol.asyncDispose]();
    assert.deepEqual(files(), ALL, "its DaemonSet is there: a successor comes");
  });

  it("writes none while its socket does not answer, and still stops", async () => {
    nodeReady.resolve();
    const installer = install();
    await waitFor("the executable", () => files().includes("mooring"));
    await installer[Symbol.asyncDispose]();
    assert.deepEqual(files(), ["current", "mooring", "versions"]);
  });

  it("uninstalls when its DaemonSet is deleted", async () => {
    const installer = await installAll();
    kube.remove(SETS, OWN.namespace, OWN.name);
    await installer[Symbol.asyncDispose]();
    assert.deepEqual(files(), []);
    assert.equal(existsSync(socket()), false);
    assert.equal(removedBridges, 1);
  });

  const deleteNamespace = () => {
    const metadata = { name: OWN.namespace, namespace: "", deletionTimestamp: "2026-11-20T08:00:00Z" };
    kube.put(SPACES, { metadata });
  };

  it("uninstalls when its namespace is being deleted", async () => {
    const installer = await installAll();
    deleteNamespace();
    await installer[Symbol.asyncDispose]();
    assert.deepEqual(files(), []);
  });

  for (const status of [401, 403]) {
    it(`uninstalls when its namespace and its rights are deleted together (${status})`, async () => {
      const installer = await installAll();
      await waitFor("the watch of the namespace", () => kube.requests.some(isNamespaceWatch));
      kube.faults.set(/./, status);
      deleteNamespace();
      await installer[Symbol.asyncDispose]();
      assert.deepEqual(files(), []);
    });

    it(`keeps everything when the API only rejects its token (${status})`, async () => {
      const installer = await installAll();
      await waitFor("the watch of the namespace", () => kube.requests.some(isNamespaceWatch));
      kube.faults.set(/./, status);
      await installer[Symbol.asyncDispose]();
      assert.deepEqual(files(), ALL);
      assert.equal(removedBridges, 0);
    });
  }

  for (const status of [500, 503]) {
    it(`keeps everything when the API fails (${status})`, async () => {
      const installer = await installAll();
      kube.faults.set(/./, status);
      await installer[Symbol.asyncDispose]();
      assert.deepEqual(files(), ALL);
      assert.equal(removedBridges, 0);
    });
  }

  it("keeps everything when the API never answered it", async () => {
    kube.faults.set(/./, 403);
    const installer = await installAll();
    await installer[Symbol.asyncDispose]();
    assert.deepEqual(files(), ALL);
  });
});
