import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { encodeJson, type JsonObject, OvsdbDecoder, OvsdbProtocolError } from "../../../cni/datapath/ovsdb/codec.ts";

const MESSAGES: JsonObject[] = [
  { id: 1, result: [{ rows: [] }], error: null },
  { method: "echo", params: [], id: "echo" },
  { id: 2, result: 'braces } in { "strings" \\ and \\" escapes {{{', error: null },
  { id: 3, result: { nested: { deep: [{}, { a: "}" }] } }, error: null },
  { id: 4, result: "häfen, 港口, 🚢", error: null },
];

function decode(pieces: Iterable<Buffer>, decoder = new OvsdbDecoder()): JsonObject[] {
  return [...pieces].flatMap(piece => decoder.push(piece));
}

function slices(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

describe("OvsdbDecoder", () => {
  const stream = Buffer.concat(MESSAGES.map(encodeJson));

  for (const size of [1, 2, 3, 7, 64, 4096]) {
    it(`decodes the same messages from pieces of ${size} bytes`, () => {
      assert.deepEqual(decode(slices(stream, size)), MESSAGES);
    });
  }

  it("skips white space between messages and nothing else", () => {
    const spaced = Buffer.from(` \n${JSON.stringify(MESSAGES[0])}\r\n\t${JSON.stringify(MESSAGES[1])}\n`);
    assert.deepEqual(decode(slices(spaced, 1)), MESSAGES.slice(0, 2));
    for (const bytes of ["x", "[]", '"text"', "HTTP/1.1 200 OK", "\0", "}"]) {
      assert.throws(() => decode([Buffer.from(bytes)]), OvsdbProtocolError, bytes);
    }
  });

  it("rejects a message that is not JSON, and shows its beginning", () => {
    for (const text of ['{"a":}', "{'a':1}", '{"a":1,}', "{{}}", '{"a":"\\x"}']) {
      assert.throws(() => decode(slices(Buffer.from(text), 1)), { message: `a message is not JSON: ${text}` });
    }
  });

  it("rejects a message as soon as it exceeds the cap", () => {
    const decoder = new OvsdbDecoder(100);
    const endless = Buffer.from(`{"a":"${"x".repeat(93)}`);
    assert.deepEqual(decoder.push(endless), []);
    assert.throws(() => decode(slices(Buffer.from("xx"), 1), decoder), {
      message: "a message is longer than 100 bytes",
    });
  });

  it("counts each message separately against the cap", () => {
    const decoder = new OvsdbDecoder(60);
    const many = Array.from({ length: 50 }, () => MESSAGES[1] as JsonObject);
    assert.equal(decode(slices(Buffer.concat(many.map(encodeJson)), 11), decoder).length, 50);
  });

  it("rejects a stream that ends inside a message", () => {
    const decoder = new OvsdbDecoder();
    decoder.end();
    decoder.push(stream.subarray(0, 10));
    assert.throws(() => decoder.end(), { message: "the stream ended inside a message, after 10 bytes of it" });
  });

  it("returns messages or a protocol error for any damaged byte", () => {
    for (let index = 0; index < stream.length; index++) {
      for (const flip of [0x01, 0x20, 0x80]) {
        const damaged = Buffer.from(stream);
        damaged[index] = (damaged[index] ?? 0) ^ flip;
        try {
          decode(slices(damaged, 5));
        } catch (error) {
          assert.ok(error instanceof OvsdbProtocolError, `byte ${index}: ${error}`);
        }
      }
    }
  });
});
