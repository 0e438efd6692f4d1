import assert from "node:assert/strict";
import type { IncomingMessage } from "node:http";
import { describe, it } from "node:test";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { type StreamKind, StreamPlaces } from "../../../ipam-server/http/v1/stream-places.ts";

const limits = {
  agent: { places: 4, perCaller: 2 },
  controller: { places: 1, perCaller: 1 },
  other: { places: 3, perCaller: 2 },
};

function openPlaces() {
  const open: Partial<Record<StreamKind, number>> = {};
  const refused: StreamKind[] = [];
  const places = new StreamPlaces({
    limits,
    onChange(kind, count) {
      open[kind] = count;
    },
    onRefused: kind => refused.push(kind),
  });
  const reserve = (userAgent: string, host?: string, address = "10.0.0.1") =>
    places.reserve(
      { name: `anonymous@${address}`, roles: [] },
      { headers: { "user-agent": userAgent } } as IncomingMessage,
      host,
    );
  return { open, refused, reserve };
}

const isOverloaded = (pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof IpamError);
  assert.equal(error.code, "overloaded");
  assert.match(error.message, pattern);
  assert.equal(error.details.retryAfterSeconds, 5);
  return true;
};

describe("places of event streams", () => {
  it("keeps those of agents and controllers when scripts use all others", () => {
    const { open, refused, reserve } = openPlaces();
    for (const address of ["10.0.0.1", "10.0.0.2", "10.0.0.3"]) reserve("curl/8", "node-a", address);
    assert.throws(
      () => reserve("curl/8", "node-a", "10.0.0.4"),
      isOverloaded(/^all 3 event streams for other programs/),
    );
    reserve("mooring-agent", "node-a");
    reserve("mooring-controller");
    assert.throws(
      () => reserve("mooring-controller", undefined, "10.0.0.4"),
      isOverloaded(/for controllers are in use/),
    );
    assert.deepEqual(open, { agent: 1, controller: 1, other: 3 });
    assert.deepEqual(refused, ["other", "controller"]);
  });

  it("limits the streams of one caller, and frees the place of a closed one", () => {
    const { open, reserve } = openPlaces();
    const first = reserve("curl/8");
    reserve("curl/8");
    assert.throws(() => reserve("curl/8"), isOverloaded(/^anonymous@10.0.0.1 has 2 event streams open, the most/));
    first[Symbol.dispose]();
    reserve("curl/8");
    reserve("Mozilla/5.0");
    assert.equal(open.other, 3);
  });

  it("counts agents by their host, because they may share a proxy's address", () => {
    const { reserve } = openPlaces();
    reserve("mooring-agent", "node-a");
    reserve("mooring-agent", "node-a");
    assert.throws(() => reserve("mooring-agent", "node-a"), isOverloaded(/has 2 event streams open for host node-a/));
    reserve("mooring-agent", "node-b");
  });

  it("gives an agent's stream without a host no reserved place", () => {
    const { open, reserve } = openPlaces();
    reserve("mooring-agent");
    assert.deepEqual(open, { other: 1 });
  });
});
