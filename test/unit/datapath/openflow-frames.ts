import { encodeRequest } from "../../../cni/datapath/openflow/encode-message.ts";
import type { Flow } from "../../../cni/datapath/openflow/flow.ts";
import { OPENFLOW_15, type Version, Writer } from "../../../cni/datapath/openflow/wire.ts";

/** Bytes of a message as OVS sends it. `body` is hexadecimal or bytes. */
export function frame(type: number, xid: number, body: string | Uint8Array = "", version = 6): Buffer {
  const bytes = typeof body === "string" ? Buffer.from(body.replaceAll(/\s/g, ""), "hex") : body;
  const header = Buffer.alloc(8);
  header[0] = version;
  header[1] = type;
  header.writeUInt16BE(8 + bytes.length, 2);
  header.writeUInt32BE(xid, 4);
  return Buffer.concat([header, bytes]);
}

/** One flow in a reply of statistics: 7 packets and 448 bytes in 5 seconds. */
export function flowEntry(flow: Flow, version: Version): Buffer {
  const writer = new Writer(version);
  encodeRequest(writer, 1, { kind: "flow", command: "add", flow });
  const sent = writer.finish();
  const { cookie, table } = flow;
  const matchBytes = (sent.readUInt16BE(50) + 7) & ~7;
  const match = sent.subarray(48, 48 + matchBytes);
  const instructions = sent.subarray(48 + matchBytes);
  const head = Buffer.concat([sent.subarray(30, 32), sent.subarray(26, 30), sent.subarray(44, 46), Buffer.alloc(2)]);
  const id = Buffer.alloc(8);
  id.writeBigUInt64BE(cookie);
  const parts =
    version === OPENFLOW_15
      ? [Buffer.from([0, 0, table, 0]), head, id, match, OXS, instructions]
      : [Buffer.from([table, 0, 0, 0, 0, 5, 0, 0, 0, 0]), head, Buffer.alloc(2), id, COUNTERS, match, instructions];
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.length + 2);
  return Buffer.concat([length, body]);
}

const COUNTERS = Buffer.from("000000000000000700000000000001c0", "hex");
/** Duration, one statistic that no one knows, packets, bytes; padded to 48 bytes. */
const OXS = Buffer.from(
  `0000 002e 80020008 0000000500000000 8002fe02 0102 80020808 0000000000000007 80020a08 00000000000001c0 0000`.replaceAll(
    /\s/g,
    "",
  ),
  "hex",
);
