import assert from "node:assert/strict";
import { readFileSync, rmSync } from "node:fs";
import { after, afterEach, describe, it } from "node:test";
import { parseAllDocuments } from "yaml";
import type { MooringEvent, Port } from "../../ipam-server/contract/index.ts";
import { waitFor } from "../../scripts/lab/command.ts";
import { ping } from "../../scripts/lab/ping.ts";
import type { PodSandbox } from "../../scripts/lab/runtime.ts";
import { expectError, expectSuccess, type Plugged } from "../lab/lab.ts";
import { openAgentLab } from "./agent-lab.ts";

const SIZE = 6;
const EAGER = ["--sweep-grace", "300ms", "--sweep-interval", "500ms"];

const agentLab = await openAgentLab();
after(() => agentLab[Symbol.asyncDispose]());
const { lab, kube } = agentLab;
const [agent] = agentLab.agents;
const [prodA] = parseAllDocuments(readFileSync(new URL("../lab/networks.yaml", import.meta.url), "utf8"));
const network = prodA?.toJS();
const leaseNetwork = (nodeLease?: object) =>
  lab.ipam.ctl(["apply", "-f", "-"], JSON.stringify({ ...network, spec: { ...network.spec, nodeLease } }));
expectZero(await leaseNetwork({ size: SIZE, low: SIZE }));
await agent.stop();
await agent.start(...EAGER);

const living = new Map<string, Plugged>();
const created = new Set<string>();
describe("leases on a node", () => {
  afterEach(async () => {
    // Harmless where it runs.
    if ((await lab.ipam.ctl(["status"])).code !== 0) await lab.ipam.start();
    for (const pod of living.values()) await lab.runtime.del(lab.a, pod, agentLab.conf(lab.a));
    living.clear();
    for (const name of created) await kube.removePod(name);
    created.clear();
  });

  let count = 0;
  /** A pod of a Deployment. */
  const createReplica = (): Promise<PodSandbox> => {
    const letters = "bcdfghjkmn";
    const suffix = Array.from(String(count++).padStart(5, "0"), digit => letters[Number(digit)]).join("");
    const name = `web-7d9c5b-${suffix}`;
    created.add(name);
    return agentLab.createPod(lab.a, name, { generateName: "web-7d9c5b-" });
  };
  const plug = async (sandbox: PodSandbox): Promise<Plugged> => {
    const pod = await agentLab.plug(lab.a, sandbox);
    living.set(pod.containerId, pod);
    return pod;
  };
  const plugReplica = async () => plug(await createReplica());
  const del = async (pod: Plugged) => {
    expectSuccess(await lab.runtime.del(lab.a, pod, agentLab.conf(lab.a)));
    living.delete(pod.containerId);
    await kube.removePod(pod.pod.name);
  };
  const readLeases = async () => (await lab.readPorts()).filter(({ owner }) => owner?.kind === "lease");
  const waitForLeases = async (size = SIZE): Promise<Port[]> => {
    let leases: Port[] = [];
    await waitFor(`${size} leases`, async () => {
      leases = await readLeases();
      return leases.length === size && (await readStock()) === size;
    });
    return leases;
  };
  const readStock = async () =>
    Number(
      /^mooring_agent_lease_addresses\{network="prod-a"\} (\d+)/m.exec((await agent.read("/metrics")).body)?.[1] ?? 0,
    );
  const readMetric = async (outcome: string) =>
    Number(
      new RegExp(`mooring_agent_leases_total{outcome="${outcome}"} (\\d+)`).exec(
        (await agent.read("/metrics")).body,
      )?.[1] ?? 0,
    );
  /** The answer to a first pod shows the node that its network has leases; the node then claims its share. */
  const warmUp = async () => {
    if ((await readStock()) < SIZE) await del(await plugReplica());
    return waitForLeases();
  };
  const waitForDelivery = () =>
    waitFor("an empty journal", async () =>
      /mooring_agent_journal_entries 0/.test((await agent.read("/metrics")).body),
    );
  const readEvents = async (pod: Plugged): Promise<MooringEvent[]> =>
    JSON.parse(await lab.ipam.mustCtl("trace", `lab/default/${pod.pod.name}`, "-o", "json")).events;

  /** What the IPAM has bound to pods of node A, and what is plugged there: by sandbox, port and epoch. */
  async function assertBooksAgree(): Promise<void> {
    const ports = (await lab.readPorts()).filter(
      ({ owner, binding }) => owner?.kind === "pod" && binding !== undefined,
    );
    const booked = ports.map(({ id, epoch, binding }) => `${binding?.sandbox?.id} ${id} ${epoch}`);
    const interfaces = JSON.parse(
      await lab.a.ovs.vsctl("--format=json", "--columns=external_ids", "list", "interface"),
    ) as { data: [["map", [string, string][]]][] };
    const plugged = interfaces.data
      .map(([[, pairs]]) => Object.fromEntries(pairs))
      .filter(ids => ids["mooring-port-id"] !== undefined)
      .map(ids => `${ids["mooring-sandbox"]} ${ids["mooring-port-id"]} ${ids["mooring-epoch"]}`);
    assert.deepEqual(booked.toSorted(), plugged.toSorted());
    await lab.ipam.mustCtl("check");
  }

  it("IPAM down: pods use leases, then wait; delivers all in order afterwards", async () => {
    await warmUp();
    await lab.ipam.stop("SIGKILL");
    const pods: Plugged[] = [];
    for (let index = 0; index < SIZE; index++) pods.push(await plugReplica());
    expectError(await lab.runtime.add(lab.a, await createReplica(), agentLab.conf(lab.a)), 11, /IPAM/);
    const [first, second, ...others] = pods as [Plugged, Plugged, ...Plugged[]];
    assert.ok(await ping(lab.topology.legacy, second.ipv4 ?? ""));
    const conf = { ...agentLab.conf(lab.a), prevResult: second.result };
    await del(first);

    await lab.ipam.start();
    await waitForDelivery();
    await assertBooksAgree();
    expectSuccess(await lab.runtime.check(lab.a, second, conf));
    const types = (await readEvents(first)).map(({ type }) => type);
    assert.deepEqual(types.slice(-3), ["port.bound", "port.released", "port.deleted"]);
    assert.match(
      (await readEvents(second)).find(({ type }) => type === "port.bound")?.message ?? "",
      /^from lease:node-a/,
    );
    await waitFor("the report", async () => (await lab.readPorts(second.pod.name))[0]?.underlay === "ACTIVE");
    for (const pod of [second, ...others]) await del(pod);
    await assertBooksAgree();
    await waitForLeases();
  });

  it("a killed agent loses and doubles nothing, and its idle leases are released", async () => {
    const before = await warmUp();
    await lab.ipam.stop("SIGKILL");
    const [stays, goes, goesToo] = [await plugReplica(), await plugReplica(), await plugReplica()];
    await del(goesToo);
    await agent.stop("SIGKILL");
    // The executable cleans up alone, and journals the release after the claim.
    await del(goes);
    await agent.start(...EAGER);
    const again = expectSuccess(await lab.runtime.add(lab.a, stays, agentLab.conf(lab.a)));
    assert.deepEqual(again?.ips, stays.result.ips);
    expectError(await lab.runtime.add(lab.a, await createReplica(), agentLab.conf(lab.a)), 11, /IPAM/);

    await lab.ipam.start();
    await waitForDelivery();
    await assertBooksAgree();
    assert.equal((await lab.readPorts(stays.pod.name)).length, 1);
    const former = new Set(before.map(({ id }) => id));
    await waitFor("the previous process's leases to be returned", async () =>
      (await readLeases()).every(({ id }) => !former.has(id)),
    );
    assert.ok(await ping(lab.topology.legacy, stays.ipv4 ?? ""));
    await del(stays);
    await assertBooksAgree();
  });

  it("a running pod keeps its address after IPAM and journal lost its claim", async () => {
    await warmUp();
    await lab.ipam.stop("SIGKILL");
    const pod = await plugReplica();
    const { name, uid } = pod.pod;
    await kube.putPod({ name, uid, nodeName: lab.a.name, generateName: "web-7d9c5b-", phase: "Running" });
    await agent.stop("SIGKILL");
    // Only OVS has a record of the pod now.
    rmSync(agent.journalDir, { recursive: true });
    await lab.ipam.start();
    await agent.start(...EAGER);
    await waitFor("the IPAM to have the pod's port", async () => (await lab.readPorts(pod.pod.name)).length === 1);
    await assertBooksAgree();
    assert.ok(await ping(lab.topology.legacy, pod.ipv4 ?? ""));
    await waitFor("the other leases to be returned", async () => (await readLeases()).length === 0);
    await del(pod);
  });

  it("disconnects a pod whose lease ended unnoticed, and writes an event", async () => {
    await warmUp();
    await lab.ipam.stop("SIGKILL");
    const [cut, kept] = [await plugReplica(), await plugReplica()];
    await lab.a.ip("link set eth0 down");
    await lab.ipam.start();
    const lease = (await readLeases()).find(({ fixedIps }) => fixedIps.some(({ address }) => address === cut.ipv4));
    assert.ok(lease?.binding);
    await lab.ipam.mustCtl("release", lease.name, "--fence", `host=node-a,owner=${lease.binding.ownerUid}`);
    await lab.a.ip("link set eth0 up");

    await waitFor("the pod to be unplugged", async () => (await lab.a.listPluggedPorts()).length === 1);
    await waitFor("an event on the pod", async () =>
      (await kube.events()).some(
        ({ reason, involvedObject }) => reason === "AddressRefused" && involvedObject.name === cut.pod.name,
      ),
    );
    await waitForDelivery();
    await assertBooksAgree();
    assert.ok(await ping(lab.topology.legacy, kept.ipv4 ?? ""));
    expectSuccess(await lab.runtime.del(lab.a, cut, agentLab.conf(lab.a)));
    living.delete(cut.containerId);
    await del(kept);
  });

  it("never assigns a lease that a person ended", async () => {
    const [ended] = await warmUp();
    assert.ok(ended?.binding);
    await lab.ipam.mustCtl("release", ended.name, "--fence", `host=node-a,owner=${ended.binding.ownerUid}`);
    await waitFor("another one in its place", async () => (await waitForLeases()).every(({ id }) => id !== ended.id));
    await lab.ipam.stop("SIGKILL");
    const pods: Plugged[] = [];
    for (let index = 0; index < SIZE; index++) pods.push(await plugReplica());
    assert.ok(pods.every(({ ipv4 }) => ended.fixedIps.every(({ address }) => address !== ipv4)));
    await lab.ipam.start();
    await waitForDelivery();
    await assertBooksAgree();
    for (const pod of pods) await del(pod);
  });

  it("releases leases on cordon and claims none; its pods claim from the IPAM", async () => {
    await warmUp();
    await kube.putNode(lab.a.name, true);
    await waitFor("the leases to go back", async () => (await readLeases()).length === 0);
    const taken = await readMetric("assigned");
    await del(await plugReplica());
    assert.equal(await readMetric("assigned"), taken);
    assert.equal((await readLeases()).length, 0);
    await kube.putNode(lab.a.name, false);
    await waitFor("the node to be leased its share again", async () => {
      await del(await plugReplica());
      return (await readStock()) === SIZE;
    });
  });

  it("releases leases when the network grants none, and its pods keep running", async () => {
    await warmUp();
    expectZero(await leaseNetwork());
    await waitFor("the leases to go back", async () => {
      await del(await plugReplica());
      return (await readLeases()).length === 0;
    });
    expectZero(await leaseNetwork({ size: SIZE, low: SIZE }));
  });

  it("releases its leases when stopped", async () => {
    await warmUp();
    await agent.stop("SIGTERM");
    assert.deepEqual(await readLeases(), []);
    await agent.start(...EAGER);
  });

  it("never assigns a lease after its end", async () => {
    await agent.stop("SIGTERM");
    await lab.ipam.stop();
    process.env.MOORING_LEASE_TIME = "6s";
    await lab.ipam.start();
    await agent.start(...EAGER);
    await warmUp();
    const renewed = await readMetric("renewed");
    await waitFor("the leases to be renewed", async () => (await readMetric("renewed")) >= renewed + SIZE);
    await lab.ipam.stop("SIGKILL");
    const pod = await plugReplica();
    await waitFor("the leases to end", async () => (await readStock()) === 0);
    expectError(await lab.runtime.add(lab.a, await createReplica(), agentLab.conf(lab.a)), 11, /IPAM/);
    assert.ok(await ping(lab.topology.legacy, pod.ipv4 ?? ""), "who got an address keeps it");
    await lab.ipam.start();
    await waitForDelivery();
    await assertBooksAgree();
    await del(pod);
    await waitFor("the ended leases to be returned", async () =>
      (await readLeases()).every(({ expiresAt = "" }) => Date.parse(expiresAt) > Date.now() - 6000),
    );
  });
});

function expectZero({ code, stderr }: { code: number | null; stderr: string }): void {
  assert.equal(code, 0, stderr);
}
