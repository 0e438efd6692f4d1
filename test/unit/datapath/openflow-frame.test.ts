import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Frame, OpenflowDecoder } from "../../../cni/datapath/openflow/frame.ts";
import { OpenflowProtocolError } from "../../../cni/datapath/openflow/wire.ts";
import { frame } from "./openflow-frames.ts";

function slices(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

function decode(pieces: Iterable<Buffer>, decoder = new OpenflowDecoder()): Frame[] {
  return [...pieces].flatMap(piece => decoder.push(piece));
}

describe("OpenflowDecoder", () => {
  const bodies = [Buffer.alloc(0), Buffer.from("echo"), Buffer.alloc(0xffff - 8, 7), Buffer.alloc(1)];
  const stream = Buffer.concat(bodies.map((body, xid) => frame(2, xid, body)));

  for (const size of [1, 2, 3, 7, 64, 4096, 1_000_000]) {
    it(`decodes the same messages from pieces of ${size} bytes`, () => {
      const frames = decode(slices(stream, size));
      assert.deepEqual(
        frames.map(({ xid, body }) => [xid, Buffer.compare(body, bodies[xid] ?? Buffer.alloc(0))]),
        [0, 1, 2, 3].map(xid => [xid, 0]),
      );
    });
  }

  it("rejects a length shorter than the header", () => {
    const bytes = frame(2, 1);
    bytes.writeUInt16BE(7, 2);
    assert.throws(() => decode(slices(bytes, 1)), {
      name: "OpenflowProtocolError",
      message: "a message says it is 7 bytes long, at least 8 are needed",
    });
  });

  it("rejects what is not OpenFlow 1.4 or 1.5 by its first bytes", () => {
    for (const bytes of [Buffer.from("HTTP/1.1 200 OK"), frame(5, 1, undefined, 4), frame(5, 1, undefined, 7)])
      assert.throws(() => decode([bytes]), OpenflowProtocolError);
    // A hello and an error come in the version of their sender.
    assert.equal(decode([frame(0, 1, undefined, 4), frame(1, 1, Buffer.alloc(4), 1)]).length, 2);
  });

  it("rejects a stream that ends inside a message", () => {
    const decoder = new OpenflowDecoder();
    decoder.push(stream.subarray(0, stream.length - 1));
    assert.throws(() => decoder.end(), { message: "the stream ended inside a message, after 8 bytes of it" });
    decoder.push(stream.subarray(-1));
    decoder.end();
  });
});
