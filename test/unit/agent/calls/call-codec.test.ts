import assert from "node:assert/strict";
import { test } from "node:test";
import { CallCodec, type Received } from "../../../../cni/agent/calls/call-codec.ts";
import { PROTOCOL_VERSION } from "../../../../cni/launcher/protocol.ts";

const CALL = { env: { CNI_COMMAND: "ADD", CNI_IFNAME: "eth0" }, stdin: '{"name":"ü"}' };
const line = (value: object) => Buffer.from(`${JSON.stringify({ version: PROTOCOL_VERSION, ...value })}\n`);

/** What the codec makes of the bytes, fed one at a time. */
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

test("a call comes whole out of single bytes, and out of one piece", () => {
  assert.deepEqual(feed(line(CALL)), { kind: "call", call: CALL });
  assert.deepEqual(new CallCodec().push(line(CALL)), { kind: "call", call: CALL });
});

test("a line that is not over gives nothing yet", () => {
  assert.equal(feed(line(CALL).subarray(0, -1)), undefined);
});

test("every cut of a call is refused with a well-formed error", () => {
  const whole = line(CALL);
  for (let length = 0; length < whole.length - 1; length++) {
    const received = feed(Buffer.concat([whole.subarray(0, length), Buffer.from("\n")]));
    assert.equal(received?.kind, "refused", String(length));
    const { stdout, exitCode } = received.kind === "refused" ? received.answer : { stdout: "", exitCode: 0 };
    assert.deepEqual([exitCode, JSON.parse(stdout).code], [1, 6]);
  }
});

test("another version is refused before anything else is looked at, so that its DEL can be done without the agent", () => {
  for (const version of [0, 2, "1", null, undefined]) {
    const received = feed(Buffer.from(`${JSON.stringify({ version, whatever: true })}\n`));
    assert.equal(received?.kind === "refused" && received.answer.isMismatch, true);
    assert.equal(received?.kind === "refused" && JSON.parse(received.answer.stdout).code, 11);
  }
});

test("a call without end is refused at the cap", () => {
  const codec = new CallCodec();
  const piece = Buffer.alloc(1024 * 1024, 0x20);
  const outcomes = Array.from({ length: 5 }, () => codec.push(piece)?.kind);
  assert.deepEqual(outcomes, [undefined, undefined, undefined, undefined, "refused"]);
});
