import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Command } from "../../../cni/spec/environment.ts";
import { RETENTION_ACCEPTS } from "../../../cni/spec/retention.ts";
import { BRIDGE_MAPPINGS_ACCEPTS } from "../../../ipam-server/process/bridge-mappings.ts";
import { CLUSTER_NAME_ACCEPTS } from "../../../ipam-server/process/cluster-name.ts";
import { ENV, Harness } from "./harness.ts";

/** A call that fails before it has any effect, with the error's code and message. */
interface BadCall {
  what: string;
  command?: Command;
  conf?: object | string;
  env?: Record<string, string | undefined>;
  code: number;
  msg: string;
}

const CONF_KEY = "network configuration: ";

const BAD_CALLS: BadCall[] = [
  ...["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"].flatMap(name =>
    (["ADD", "CHECK", "DEL"] as const)
      .filter(command => command !== "DEL" || name !== "CNI_NETNS")
      .map(command => ({
        what: `${command} without ${name}`,
        command,
        env: { [name]: undefined },
        code: 4,
        msg: `${command} needs ${name} in its environment`,
      })),
  ),
  {
    what: "an unknown verb",
    env: { CNI_COMMAND: "ATTACH" },
    code: 4,
    msg: "CNI_COMMAND ATTACH is unknown: expected one of ADD, DEL, CHECK, STATUS, GC, VERSION",
  },
  {
    what: "no verb",
    env: { CNI_COMMAND: undefined },
    code: 4,
    msg: "CNI_COMMAND is not set: a container runtime sets it to one of the CNI verbs",
  },
  {
    what: "a container id with a slash",
    env: { CNI_CONTAINERID: "../x" },
    code: 4,
    msg: 'CNI_CONTAINERID "../x" must be letters, digits, "_", "." or "-"',
  },
  ...["sixteen-is-long-", "a/b", "a:b", "a b", ".", ".."].map(name => ({
    what: `the interface name ${JSON.stringify(name)}`,
    env: { CNI_IFNAME: name },
    code: 4,
    msg: `CNI_IFNAME ${JSON.stringify(name)} is not an interface name: at most 15 characters, no "/", ":" or space`,
  })),
  {
    what: "a netns that does not exist",
    env: { CNI_NETNS: "/run/netns/mooring-none" },
    code: 4,
    msg: "CNI_NETNS /run/netns/mooring-none does not exist: the runtime must create the network namespace first",
  },
  {
    what: "CNI_ARGS with an unknown key",
    env: { CNI_ARGS: "COLOUR=red" },
    code: 4,
    msg: "CNI_ARGS: unknown COLOUR: remove it or add IgnoreUnknown=1",
  },
  { what: "CNI_ARGS without pairs", env: { CNI_ARGS: "red" }, code: 4, msg: 'CNI_ARGS: "red" is not KEY=VALUE' },
  {
    what: "CNI_ARGS with half a pod",
    env: { CNI_ARGS: "K8S_POD_NAME=web-0" },
    code: 4,
    msg: "CNI_ARGS: K8S_POD_NAMESPACE and K8S_POD_NAME go together: give both or neither",
  },
  {
    what: "CNI_ARGS with an invalid address",
    env: { CNI_ARGS: "IP=10.1" },
    code: 4,
    msg: 'CNI_ARGS: IP takes addresses such as "10.1.2.3/16", not "10.1"',
  },
  {
    what: "nothing on stdin",
    conf: "",
    code: 6,
    msg: "the network configuration cannot be read: nothing arrived on stdin",
  },
  {
    what: "an array on stdin",
    conf: "[]",
    code: 6,
    msg: "the network configuration on stdin is not a JSON object",
  },
  { what: "no cniVersion", conf: { cniVersion: undefined }, code: 7, msg: `${CONF_KEY}"cniVersion" is missing` },
  ...["0.2.0", "1.2.0", "", 1].map(cniVersion => ({
    what: `cniVersion ${JSON.stringify(cniVersion)}`,
    conf: { cniVersion },
    code: 1,
    msg: `cniVersion ${JSON.stringify(cniVersion)} is not supported: set it to one of 0.3.1, 0.4.0, 1.0.0, 1.1.0`,
  })),
  {
    what: "CHECK in 0.3.1",
    command: "CHECK",
    conf: { cniVersion: "0.3.1" },
    code: 1,
    msg: "CHECK exists since cniVersion 0.4.0, the network configuration says 0.3.1",
  },
  ...(["STATUS", "GC"] as const).map(command => ({
    what: `${command} in 1.0.0`,
    command,
    conf: { cniVersion: "1.0.0" },
    code: 1,
    msg: `${command} exists since cniVersion 1.1.0, the network configuration says 1.0.0`,
  })),
  {
    what: "an unknown key near a known one",
    conf: { netwrokSelector: "env=prod" },
    code: 7,
    msg: `${CONF_KEY}unknown key "netwrokSelector": did you mean "networkSelector"?`,
  },
  {
    what: "an unknown key near none",
    conf: { xyzzy: 1 },
    code: 7,
    msg: `${CONF_KEY}unknown key "xyzzy": remove it`,
  },
  ...["name", "type"].map(key => ({
    what: `no ${key}`,
    conf: { [key]: undefined },
    code: 7,
    msg: `${CONF_KEY}"${key}" is missing`,
  })),
  ...["host", "cluster"].map(key => ({
    what: `no ${key} in direct mode`,
    conf: { [key]: undefined },
    code: 7,
    msg: `${CONF_KEY}"${key}" is missing with "ipamServer"`,
  })),
  {
    what: "neither agentSocket nor ipamServer",
    conf: { ipamServer: undefined },
    code: 7,
    msg: `${CONF_KEY}exactly one of "agentSocket" and "ipamServer" is required, neither is set`,
  },
  {
    what: "both agentSocket and ipamServer",
    conf: { agentSocket: "/run/mooring/agent.sock" },
    code: 7,
    msg: `${CONF_KEY}exactly one of "agentSocket" and "ipamServer" is required, both are set`,
  },
  {
    what: "another IPAM plugin",
    conf: { ipam: { type: "host-local" } },
    code: 7,
    msg: `${CONF_KEY}Mooring has its own IPAM and delegates to no other: remove "ipam"`,
  },
  {
    what: "GC without valid attachments",
    command: "GC",
    code: 7,
    msg: `${CONF_KEY}"cni.dev/valid-attachments" is missing: GC would remove every attachment`,
  },
  {
    what: "bridge mappings that share the integration bridge",
    conf: { bridgeMappings: "a:br-ex,b:br-int" },
    code: 7,
    msg: `${CONF_KEY}"bridgeMappings" joins the physical networks a and b, which both need bridge br-int`,
  },
  {
    what: "CHECK without prevResult",
    command: "CHECK",
    code: 7,
    msg: `${CONF_KEY}"prevResult" is missing: CHECK compares with what ADD answered`,
  },
  ...(
    [
      ["name", "a/b", 'letters, digits, "_", "." and "-", a letter or digit first'],
      ["bridge", 7, "the name of an OVS bridge"],
      ["agentSocket", "agent.sock", "an absolute path"],
      ["ipamServer", "ftp://x", "http://HOST:PORT, https://HOST:PORT or unix:/PATH"],
      ["ipamServer", "", "http://HOST:PORT, https://HOST:PORT or unix:/PATH"],
      ["tokenFile", "token", "an absolute path"],
      ["cluster", "a/b", CLUSTER_NAME_ACCEPTS],
      ["cluster", "a:b", CLUSTER_NAME_ACCEPTS],
      ["networkSelector", {}, 'a label selector such as "env=prod"'],
      ["retain", "forever", RETENTION_ACCEPTS],
      ["retain", "30m1h", RETENTION_ACCEPTS],
      ["retain", "0h", RETENTION_ACCEPTS],
      ["mtu", 68, "an integer from 576 to 65535"],
      ["mtu", 1500.5, "an integer from 576 to 65535"],
      ["families", ["ipv5"], 'a list of "ipv4", "ipv6" or both'],
      ["families", [], 'a list of "ipv4", "ipv6" or both'],
      ["families", "ipv4", "a list"],
      ["bridgeMappings", "physnet1", BRIDGE_MAPPINGS_ACCEPTS],
      ["bridgeMappings", "physnet1:br-ex,physnet2:br-ex", BRIDGE_MAPPINGS_ACCEPTS],
      ["journalDir", "journal", "an absolute path"],
      ["timeoutMs", 1, "an integer from 100 to 600000"],
      ["runtimeConfig", [], "an object"],
      ["args", { cni: 1 }, undefined],
      ["prevResult", "none", "an object"],
      ["prevResult", { ips: [{ address: "10.0.0.1/8", interface: 3 }] }, undefined],
    ] as const
  ).map(([key, value, takes]) => ({
    what: `${key} ${JSON.stringify(value)}`,
    conf: key === "agentSocket" ? { ipamServer: undefined, [key]: value } : { [key]: value },
    code: 7,
    msg:
      takes !== undefined
        ? `${CONF_KEY}"${key}" takes ${takes}, not ${JSON.stringify(value)}`
        : key === "args"
          ? `${CONF_KEY}"args.cni" takes an object, not 1`
          : `${CONF_KEY}"prevResult.ips[0].interface" takes an index into its interfaces, not 3`,
  })),
  {
    what: "runtimeConfig.ips with two of a family",
    conf: { runtimeConfig: { ips: ["10.0.0.1/8", "10.0.0.2/8"] } },
    code: 7,
    msg: `${CONF_KEY}"runtimeConfig.ips" takes at most one address of each family, not ["10.0.0.1/8","10.0.0.2/8"]`,
  },
  {
    what: "a multicast MAC",
    conf: { runtimeConfig: { mac: "01:00:5e:00:00:01" } },
    code: 7,
    msg: `${CONF_KEY}"runtimeConfig.mac" takes a unicast MAC such as "0a:58:0a:01:02:03", not "01:00:5e:00:00:01"`,
  },
  {
    what: "a label without a value",
    conf: { args: { cni: { labels: [{ key: "app" }] } } },
    code: 7,
    msg: `${CONF_KEY}"args.cni.labels[0].value" takes a string, not nothing`,
  },
];

describe("bad input", () => {
  for (const { what, command = "ADD", conf = {}, env = {}, code, msg } of BAD_CALLS) {
    it(`rejects ${what} before it touches anything`, async () => {
      await using harness = await Harness.start();
      const error = await harness.fail(command, conf, env);
      assert.deepEqual({ code: error.code, msg: error.msg }, { code, msg });
      assert.deepEqual(harness.ipam.requests, []);
      assert.deepEqual(harness.node.calls, []);
    });
  }

  it("rejects garbage on stdin with the parser's message", async () => {
    await using harness = await Harness.start();
    for (const garbage of ["{", "\0", "null x", '{"a":'.repeat(100)]) {
      const error = await harness.fail("ADD", garbage);
      assert.equal(error.code, 6);
      assert.match(error.msg, /^the network configuration cannot be read: stdin is not JSON: /);
      assert.equal(error.cniVersion, "1.1.0");
    }
  });

  it("accepts unknown CNI_ARGS when IgnoreUnknown is set, in any order", async () => {
    await using harness = await Harness.start();
    for (const args of ["IgnoreUnknown=1;COLOUR=red", "COLOUR=red;IgnoreUnknown=true", "COLOUR=red;IgnoreUnknown=T;"]) {
      await harness.succeed("ADD", {}, { CNI_ARGS: args });
    }
    await harness.fail("ADD", {}, { CNI_ARGS: "IgnoreUnknown=0;COLOUR=red" });
  });

  it("accepts the keys of the CNI conventions", async () => {
    await using harness = await Harness.start();
    await harness.succeed("ADD", {
      capabilities: { ips: true, mac: true, portMappings: true },
      runtimeConfig: { portMappings: [{ hostPort: 80 }], bandwidth: {} },
      args: { "org.example": { x: 1 }, cni: { other: 1 } },
      ipam: {},
      dns: {},
      prevResult: undefined,
      tokenFile: "",
      caFile: "",
      bridgeMappings: "physnet1:br-bond, p:br-data",
      mtu: 0,
    });
    assert.deepEqual(harness.ipam.claims[0], {
      name: "c1/default/web-0",
      nameFrom: "pod",
      cluster: "c1",
      namespace: "default",
      host: "node-a",
      physicalNetworks: ["physnet1", "p"],
      sandbox: { id: ENV.CNI_CONTAINERID, interface: "eth0" },
      attemptedAt: harness.ipam.claims[0]?.attemptedAt,
      owner: {
        kind: "pod",
        uid: "uid-1",
        createdAt: harness.ipam.claims[0]?.owner.createdAt,
      },
      networkSelector: "env=prod",
      retention: { policy: "ephemeral" },
    });
  });
});
