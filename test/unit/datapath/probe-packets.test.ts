import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseIp } from "../../../cni/datapath/kernel/ip-bytes.ts";
import { buildProbe, parseAnswer, parseMac } from "../../../cni/datapath/probe/packets.ts";

const MAC = parseMac("fe:00:00:00:00:01");
const bytesOf = (text: string) => parseIp(text) ?? assert.fail(text);
const hex = (...parts: string[]) => parts.join("").replaceAll(" ", "");

describe("probe packets", () => {
  it("asks for an IPv4 address with sender address 0 (RFC 5227)", () => {
    assert.equal(
      buildProbe(MAC, bytesOf("10.100.1.6")).toString("hex"),
      hex("ffffffffffff fe0000000001 0806", "0001 0800 06 04 0001", "fe0000000001 00000000", "000000000000 0a640106"),
    );
  });

  it("asks for an IPv6 address from :: at its solicited-node address (RFC 4862)", () => {
    const frame = buildProbe(MAC, bytesOf("fd00:100::12:3456"));
    assert.equal(
      frame.toString("hex"),
      hex(
        "3333ff123456 fe0000000001 86dd",
        "60000000 0018 3a ff",
        "00000000000000000000000000000000",
        "ff0200000000000000000001ff123456",
        `8700 ${frame.subarray(56, 58).toString("hex")} 00000000`,
        "fd000100000000000000000000123456",
      ),
    );
    // The sum of all 16-bit words of pseudo-header and message, checksum included, is 0xffff (RFC 1071).
    let sum = 24 + 58;
    for (let at = 22; at < frame.length; at += 2) sum += frame.readUInt16BE(at);
    assert.equal((sum & 0xffff) + (sum >>> 16), 0xffff);
  });

  it("reads who has an address from ARP packets and neighbour advertisements", () => {
    const arp = hex("fe0000000001 020000000009 0806", "0001 0800 06 04 0002", "020000000009 0a640106");
    const reply = Buffer.from(hex(arp, "fe0000000001 00000000"), "hex");
    const advertisement = Buffer.from(
      hex(
        "333300000001 020000000009 86dd 60000000 0020 3a ff",
        "fe8000000000000000000000000000aa ff020000000000000000000000000001",
        "88000000 20000000 fd000100000000000000000000000006 0201020000000009",
      ),
      "hex",
    );
    for (const [frame, address] of [
      [reply, "10.100.1.6"],
      [advertisement, "fd00:100::6"],
    ] as const) {
      const answer = parseAnswer(frame);
      assert.deepEqual(
        [answer?.mac, answer?.address.toString("hex")],
        ["02:00:00:00:00:09", bytesOf(address).toString("hex")],
      );
    }
    const fromAfar = Buffer.from(advertisement);
    fromAfar[21] = 64;
    assert.equal(parseAnswer(fromAfar), undefined);
  });

  it("takes no answer from probes, other frames and damaged ones", () => {
    const probes = [buildProbe(MAC, bytesOf("10.0.0.1")), buildProbe(MAC, bytesOf("fd00::1"))];
    for (const frame of probes) assert.equal(parseAnswer(frame), undefined);
    const full = Buffer.from(
      hex("fe0000000001 020000000009 0806 0001 0800 06 04 0002 020000000009 0a640106", "00".repeat(10)),
      "hex",
    );
    assert.notEqual(parseAnswer(full), undefined);
    for (let length = 0; length < full.length; length++) assert.equal(parseAnswer(full.subarray(0, length)), undefined);
    assert.equal(parseAnswer(Buffer.alloc(60)), undefined);
  });
});
