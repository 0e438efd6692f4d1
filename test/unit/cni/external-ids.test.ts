import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  formatFenced,
  formatPortIds,
  formatRecoveryIds,
  formatSandboxIds,
  isMade,
  MADE,
  parseExternalIds,
  parseFenced,
} from "../../../cni/external-ids.ts";

const PORT = { portName: "c1/default/web-0", portId: "p1", epoch: 7, network: "moored", ownerUid: "uid-1" };
const SANDBOX = { sandboxId: "sandbox-1", containerInterface: "eth0" };
const RECOVERY = {
  mac: "0a:58:0a:64:01:0a",
  addresses: ["10.100.1.10", "fd00:100::a"],
  vlan: 100,
  netns: "/run/netns/a",
};

describe("OVS external_ids", () => {
  it("writes the keys that operators and SDN controllers rely on", () => {
    const ids = { ...formatPortIds(PORT), ...formatSandboxIds(SANDBOX), ...formatRecoveryIds(RECOVERY, PORT.portName) };
    assert.deepEqual(ids, {
      "iface-id": "c1/default/web-0",
      "attached-mac": "0a:58:0a:64:01:0a",
      "mooring-port": "c1/default/web-0",
      "mooring-port-id": "p1",
      "mooring-epoch": "7",
      "mooring-network": "moored",
      "mooring-owner": "uid-1",
      "mooring-sandbox": "sandbox-1",
      "mooring-interface": "eth0",
      "mooring-vlan": "100",
      "mooring-netns": "/run/netns/a",
      "mooring-addresses": "10.100.1.10,fd00:100::a",
    });
    assert.deepEqual(MADE, { "mooring-made": "true" });
  });

  it("parses what it has written", () => {
    const ids = { ...formatPortIds(PORT), ...formatSandboxIds(SANDBOX), ...formatRecoveryIds(RECOVERY, PORT.portName) };
    assert.deepEqual(parseExternalIds(ids), { ...PORT, ...SANDBOX, ...RECOVERY });
  });

  it("leaves out what is absent or damaged", () => {
    const bare = {
      ...formatPortIds({ portName: "a", network: "n" }),
      ...formatRecoveryIds({ mac: "m", addresses: [], vlan: 0 }, "a"),
    };
    assert.deepEqual(parseExternalIds(bare), { portName: "a", network: "n", mac: "m", addresses: [], vlan: 0 });
    assert.deepEqual(parseExternalIds({}), { addresses: [] });
    assert.deepEqual(parseExternalIds({ "mooring-epoch": "many", "mooring-vlan": "-1", "iface-id": "vm" }), {
      addresses: [],
    });
  });

  it("distinguishes Mooring's own rows from those of others", () => {
    assert.ok(isMade({ ...MADE, other: "x" }));
    assert.ok(!isMade({ "mooring-made": "false" }));
    assert.ok(!isMade({}));
  });

  it("reads fenced ports back and leaves damaged ones out", () => {
    const port = { hostInterface: "moor1", externalIds: { ...formatPortIds(PORT), ...formatSandboxIds(SANDBOX) } };
    const bridgeIds = {
      ...MADE,
      ...formatFenced(SANDBOX, port),
      "mooring-fenced:a/eth0": "{",
      "mooring-fenced:b/eth0": "null",
      "mooring-fenced:c/eth0": '{"hostInterface":7}',
    };
    assert.deepEqual(parseFenced(bridgeIds), [port]);
  });
});
