import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  decodeAttributes,
  decodeMac,
  decodeMessages,
  decodeText,
  decodeU32,
  encodeAttribute,
  encodeMac,
  encodeMessage,
  encodeText,
  encodeU32,
} from "../../../cni/datapath/netlink/message.ts";

describe("netlink messages", () => {
  const message = (seq: number, ...attributes: Buffer[]) => ({
    type: 16,
    flags: 5,
    seq,
    port: 77,
    payload: Buffer.concat(attributes),
  });

  it("decode to what was encoded, several in one read", () => {
    const sent = [message(1), message(2, encodeAttribute(3, encodeText("eth0"))), message(4_294_967_295)];
    assert.deepEqual(decodeMessages(Buffer.concat(sent.map(encodeMessage))), sent);
  });

  it("have the kernel's layout", () => {
    const bytes = encodeMessage(message(1, encodeAttribute(4, encodeU32(1500))));
    assert.equal(bytes.toString("hex"), `${"1800000010000500010000004d000000"}${"08000400dc050000"}`);
  });

  it("pad attributes to four bytes and nest", () => {
    const nested = encodeAttribute(
      18,
      encodeAttribute(1, encodeText("veth")),
      encodeAttribute(2, encodeAttribute(3, encodeText("a"))),
    );
    assert.equal(nested.length % 4, 0);
    const outer = decodeAttributes(nested).get(18);
    assert.ok(outer);
    const inner = decodeAttributes(outer);
    assert.equal(decodeText(inner.get(1)), "veth");
    assert.equal(decodeText(decodeAttributes(inner.get(2) ?? Buffer.alloc(0)).get(3)), "a");
  });

  it("read flags out of attribute types, and values by their kind", () => {
    const bytes = encodeAttribute(0x8000 | 8, encodeU32(0x42));
    assert.equal(decodeU32(decodeAttributes(bytes).get(8)), 0x42);
    assert.equal(decodeMac(encodeMac("0a:58:0a:64:01:ff")), "0a:58:0a:64:01:ff");
    assert.equal(decodeU32(Buffer.alloc(2)), undefined);
    assert.equal(decodeMac(undefined), undefined);
  });

  it("throw RangeError on lengths that do not fit", () => {
    const bytes = encodeMessage(message(9, encodeAttribute(3, encodeText("eth0")), encodeAttribute(4, encodeU32(1))));
    for (let length = 1; length < bytes.length; length++) {
      assert.throws(() => decodeMessages(bytes.subarray(0, length)), RangeError, `cut to ${length}`);
    }
    for (let index = 0; index < bytes.length; index++) {
      const damaged = Buffer.from(bytes);
      damaged[index] = 0xff;
      try {
        for (const { payload } of decodeMessages(damaged)) decodeAttributes(payload);
      } catch (error) {
        assert.ok(error instanceof RangeError, `byte ${index}: ${error}`);
      }
    }
  });
});
