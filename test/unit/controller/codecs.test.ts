import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { EventStreamCodec } from "../../../ipam-server/contract/event-stream.ts";
import { JsonLines } from "../../../ipam-server/kube/json-lines.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const oneByOne = <T>(codec: { push(chunk: Uint8Array): T[] }, text: string): T[] =>
  [...bytes(text)].flatMap(byte => codec.push(Uint8Array.of(byte)));

describe("watch lines", () => {
  it("are complete when fed one byte at a time", () => {
    assert.deepEqual(oneByOne(new JsonLines(), '{"a":"ä€😀"}\n\n{"b":1}\r\n{"c"'), [{ a: "ä€😀" }, { b: 1 }]);
  });
  it("are returned several at a time", () => {
    assert.deepEqual(new JsonLines().push(bytes("1\n2\n3")), [1, 2]);
  });
  it("are errors if too long, not JSON or not UTF-8", () => {
    assert.throws(() => new JsonLines(8).push(bytes('"123456789')), RangeError);
    assert.throws(() => new JsonLines().push(bytes("{]\n")), SyntaxError);
    assert.throws(() => new JsonLines().push(Uint8Array.of(0xff, 0x0a)), TypeError);
  });
});

describe("the IPAM's event stream", () => {
  const event = (seq: number) => `id: ${seq}\nevent: port.bound\ndata: {"seq":${seq},"type":"port.bound"}\n\n`;
  it("yields each event once, byte by byte, and skips comments", () => {
    const seqs = oneByOne(new EventStreamCodec(), `: hello\n\n${event(1)}: still here\n\n${event(2)}`).map(e => e.seq);
    assert.deepEqual(seqs, [1, 2]);
  });
  it("yields the position also past filtered events", () => {
    const codec = new EventStreamCodec();
    assert.equal(codec.lastId, undefined);
    assert.deepEqual(oneByOne(codec, `: connected\nid: 7\n\n${event(8)}id: 9`).length, 1);
    assert.equal(codec.lastId, 8);
    assert.deepEqual(oneByOne(codec, "0\n\n: keep-alive\n\n"), []);
    assert.equal(codec.lastId, 90);
  });
  it("may end its lines with CR LF, leave out the space and split the data", () => {
    const text = 'data:{"seq":1,\r\ndata: "type":"port.bound"}\r\n\r\n';
    assert.deepEqual(new EventStreamCodec().push(bytes(text)), [{ seq: 1, type: "port.bound" }]);
  });
  it("yields nothing of an incomplete event", () => {
    assert.deepEqual(new EventStreamCodec().push(bytes(event(1).slice(0, -1))), []);
  });
  it("yields the server's reason for an end", () => {
    const codec = new EventStreamCodec();
    assert.equal(codec.push(bytes(event(1))).length, 1);
    const end = 'event: end\ndata: {"reason":"the server is stopping"}\n\n';
    assert.throws(() => codec.push(bytes(end)), { code: "unavailable", message: /ended.*: the server is stopping/ });
  });
  it("is an error if too long, not JSON or no event", () => {
    assert.throws(() => new EventStreamCodec(8).push(bytes("data: 123456789")), RangeError);
    assert.throws(() => new EventStreamCodec().push(bytes("data: {]\n\n")), SyntaxError);
    assert.throws(() => new EventStreamCodec().push(bytes("data: {}\n\n")), /without seq or type/);
  });
});
