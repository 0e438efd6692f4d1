import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallCodec, type Received } from "../../../../cni/agent/calls/call-codec.ts";
import { PROTOCOL_VERSION } from "../../../../cni/launcher/protocol.ts";

const CALL = { env: { CNI_COMMAND: "ADD", CNI_IFNAME: "eth0" }, stdin: '{"name":"ü"}' };
const line = (value: object) => Buffer.from(`${JSON.stringify({ version: PROTOCOL_VERSION, ...value })}\n`);

/** Feeds the codec one byte at a time and returns its first result. */
function feed(bytes: Buffer): Received | undefined {
  const codec = new CallCodec();
  for (const [index, byte] of bytes.entries()) {
    const received = codec.push(Buffer.of(byte));
    if (received === undefined) continue;
    assert.ok(received.kind === "refused" || index === bytes.length - 1);
    return received;
  }
  return undefined;
}

describe("CallCodec", () => {
  it("decodes a call from single bytes and from one chunk", () => {
    assert.deepEqual(feed(line(CALL)), { kind: "call", call: CALL });
    assert.deepEqual(new CallCodec().push(line(CALL)), { kind: "call", call: CALL });
  });

  it("returns nothing before the line is complete", () => {
    assert.equal(feed(line(CALL).subarray(0, -1)), undefined);
  });

  it("answers every truncated call with a valid CNI error", () => {
    const complete = line(CALL);
    for (let length = 0; length < complete.length - 1; length++) {
      const received = feed(Buffer.concat([complete.subarray(0, length), Buffer.from("\n")]));
      assert.equal(received?.kind, "refused", String(length));
      const { stdout, exitCode } = received.kind === "refused" ? received.answer : { stdout: "", exitCode: 0 };
      assert.deepEqual([exitCode, JSON.parse(stdout).code], [1, 6]);
    }
  });

  it("answers another protocol version as a mismatch before reading other fields", () => {
    for (const version of [0, 2, "1", null, undefined]) {
      const received = feed(Buffer.from(`${JSON.stringify({ version, other: true })}\n`));
      assert.equal(received?.kind === "refused" && received.answer.isMismatch, true);
      assert.equal(received?.kind === "refused" && JSON.parse(received.answer.stdout).code, 11);
    }
  });

  it("rejects a call above the size limit", () => {
    const codec = new CallCodec();
    const piece = Buffer.alloc(1024 * 1024, 0x20);
    const outcomes = Array.from({ length: 5 }, () => codec.push(piece)?.kind);
    assert.deepEqual(outcomes, [undefined, undefined, undefined, undefined, "refused"]);
  });
});
