import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { deriveConf, PLUGIN } from "../../scripts/lab/cni.ts";
import type { LabNode } from "../../scripts/lab/node.ts";
import { ping } from "../../scripts/lab/ping.ts";
import { type Containerd, startContainerd } from "../lab/containerd.ts";
import { openLab } from "../lab/lab.ts";
import { buildPauseImage } from "../lab/pause-image.ts";

const lab = await openLab();
const stack = new AsyncDisposableStack();
stack.use(lab);
after(() => stack.disposeAsync());

const imageDir = join(lab.topology.dir, "image");
mkdirSync(imageDir);
const image = await buildPauseImage(imageDir);

async function start(node: LabNode): Promise<Containerd> {
  const { cniVersion, name, ...plugin } = deriveConf(lab.topology, node, lab.ipam) as Record<string, unknown>;
  // The version every containerd since 1.4 speaks.
  const confList = { cniVersion: "0.4.0", name, plugins: [plugin] };
  return stack.use(await startContainerd(node, { dir: lab.topology.dir, plugin: PLUGIN, confList, image }));
}

describe("containerd", () => {
  it("keeps a pod's address and MAC when it restarts on another node", async () => {
    const [a, b] = await Promise.all([start(lab.a), start(lab.b)]);
    const { legacy } = lab.topology;
    const readMac = async (ip: string) => {
      assert.ok(await ping(legacy, ip), `${ip} does not answer`);
      return /lladdr (\S+)/.exec(await legacy.must(["ip", "neighbour", "show", ip]))?.[1];
    };

    const first = await a.cri.runPodSandbox({ name: "web-0", namespace: "default", uid: "uid-1" });
    const ip = await a.cri.readPodIp(first);
    const mac = await readMac(ip);
    await a.cri.stopPodSandbox(first);
    await a.cri.removePodSandbox(first);
    assert.deepEqual([await lab.a.listPluggedPorts(), await lab.a.listVeths()], [[], []]);
    await legacy.must(["ip", "neighbour", "flush", "all"]);

    const second = await b.cri.runPodSandbox({ name: "web-0", namespace: "default", uid: "uid-2" });
    assert.equal(await b.cri.readPodIp(second), ip);
    assert.equal(await readMac(ip), mac);
    const [port] = await lab.readPorts("web-0");
    assert.equal(port?.binding?.host, lab.b.name);
    assert.equal(port?.binding?.sandbox?.id, second);

    await b.cri.stopPodSandbox(second);
    await b.cri.removePodSandbox(second);
    const [left] = await lab.readPorts("web-0");
    assert.equal(left?.binding, undefined, "the sticky port is kept, unbound");
  });

  it("passes the plugin's error message to the runtime's caller", async () => {
    const { cniVersion, name, ...plugin } = deriveConf(lab.topology, lab.a, lab.ipam) as Record<string, unknown>;
    const confList = { cniVersion: "0.4.0", name, plugins: [{ ...plugin, networkSelector: "env=moon" }] };
    const dir = join(lab.topology.dir, "refused");
    mkdirSync(dir);
    await using containerd = await startContainerd(lab.a, { dir, plugin: PLUGIN, confList, image });
    await assert.rejects(
      containerd.cri.runPodSandbox({ name: "lost", namespace: "default", uid: "uid-3" }),
      /env=moon/,
    );
  });
});
