import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import type { Port } from "../../../ipam-server/contract/index.ts";
import { Client } from "../../server/client.ts";
import type { BenchContext } from "../context.ts";
import { openDatabases } from "../databases/databases.ts";
import { ZoneModel } from "./model.ts";
import { zonePod } from "./pod.ts";
import { Zone, type ZoneOptions } from "./zone.ts";

const OPTIONS: ZoneOptions = {
  ...{ database: "sqlite", replicas: 1, nodes: 10, pods: 100, restarted: 2, drifted: 10 },
  ...{ seconds: 1, outageSeconds: 1, speed: 60, seed: 1 },
};

describe("zone bench", () => {
  it("settles a small zone after churn, drift and outages, and finds a doubled address", async t => {
    const context: BenchContext = {
      nodePath: process.execPath,
      root: fileURLToPath(new URL("../../..", import.meta.url)),
      // A released address can be assigned to another pod at once.
      env: { ...process.env, MOORING_REUSE_DELAY: "0s" },
      signal: t.signal,
      progress: line => t.diagnostic(line),
    };
    await using databases = await openDatabases("sqlite");
    await using zone = await Zone.open(context, OPTIONS, databases, await databases.create());
    const phases = await zone.run();
    assert.deepEqual(await zone.prove(), { broken: [], ports: OPTIONS.pods });
    assert.ok(phases.at(-1)?.seen.journaled, "nothing was journaled while the server was away");

    const [server] = zone.servers;
    assert.ok(server);
    const client = new Client(server);
    const [victim] = await client.allPorts();
    assert.ok(victim?.binding?.sandbox);
    const { name, binding, fixedIps } = victim;
    await client.release({ name, host: binding.host, sandbox: binding.sandbox as { id: string; interface: string } });
    await client.send("DELETE", `/v1/ports/${encodeURIComponent(name)}`);
    const wanted = fixedIps.map(({ address }) => address);
    await client.claim({
      name: "zone-1/default/thief",
      host: "node-0",
      sandbox: { id: "thief", interface: "eth0" },
      owner: { kind: "pod", uid: "thief", createdAt: new Date().toISOString() },
      networkSelector: `env=prod`,
      ips: wanted,
    });
    const { broken } = await zone.prove();
    assert.ok(broken.includes(`${wanted[0]} is held for zone-1/default/thief and used by ${name}`), broken.join("\n"));
  });

  const portOf = (name: string, address: string, epoch = 1): Port =>
    ({ name, epoch, fixedIps: [{ address, subnet: "10.0.0.0/24", prefixLength: 24 }] }) as Port;

  it("reports an address that was doubled or lost, even if it is right in the end", () => {
    const model = new ZoneModel();
    const [first, second] = [zonePod(0, 0, true), zonePod(1, 0, true)];
    model.added(first, "node-a", portOf(first.name, "10.0.0.1"));
    model.added(second, "node-b", portOf(second.name, "10.0.0.1"));
    model.gone(first);
    model.gone(second);
    model.added(zonePod(0, 1, true), "node-b", portOf(first.name, "10.0.0.2", 2));
    model.gone(first);
    assert.deepEqual(model.prove([]), [
      `10.0.0.1 is ${first.name}'s and was given to ${second.name}`,
      `${first.name} had 10.0.0.1 and came back with 10.0.0.2`,
    ]);
  });

  it("reports ports without a pod, and pods without a port", () => {
    const model = new ZoneModel();
    const pod = zonePod(0, 0, false);
    model.added(pod, "node-a", portOf(pod.name, "10.0.0.1"));
    assert.deepEqual(model.prove([portOf("left-over", "10.0.0.9")]), [
      "the server holds left-over, which does not run",
      `${pod.name} runs on node-a, and the server does not hold it`,
    ]);
  });
});
