import { parseIp } from "../kernel/ip-bytes.ts";
import { OpenflowValueError, type Writer } from "./wire.ts";

/** One direction of a connection, as far as it is given. */
export interface ConntrackTuple {
  readonly source?: string;
  readonly destination?: string;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

/** Deletes connections from conntrack: all of a zone, or (OVS 3.1) those that a tuple describes. */
export type ConntrackFlush =
  | { readonly kind: "flushZone"; readonly zone: number }
  | {
      readonly kind: "flushConnections";
      /** IP protocol; ports need one. */
      readonly protocol: number;
      readonly zone?: number;
      readonly original?: ConntrackTuple;
      readonly reply?: ConntrackTuple;
    };

export const FLUSH_ZONE_SUBTYPE = 29;
export const FLUSH_SUBTYPE = 32;
const PROPERTY = { original: 0, reply: 1, zone: 2 } as const;
const TUPLE = { source: 0, destination: 1, sourcePort: 2, destinationPort: 3 } as const;

export function encodeConntrackFlush(writer: Writer, flush: ConntrackFlush): void {
  if (flush.kind === "flushZone") {
    writer.zeros(6);
    writer.uint(flush.zone, 2, "conntrack zone");
    return;
  }
  const { protocol, zone, original, reply } = flush;
  writer.uint(protocol, 1, "protocol");
  writer.zeros(7);
  if (original) encodeProperty(writer, PROPERTY.original, () => encodeTuple(writer, original));
  if (reply) encodeProperty(writer, PROPERTY.reply, () => encodeTuple(writer, reply));
  if (zone !== undefined) encodeProperty(writer, PROPERTY.zone, () => writer.uint(zone, 2, "conntrack zone"));
}

function encodeTuple(writer: Writer, tuple: ConntrackTuple): void {
  // A nested property begins aligned to 8 bytes.
  writer.zeros(4);
  for (const name of ["source", "destination"] as const) {
    const address = tuple[name];
    if (address !== undefined) encodeProperty(writer, TUPLE[name], () => writer.bytes(parseMapped(name, address)));
  }
  for (const name of ["sourcePort", "destinationPort"] as const) {
    const port = tuple[name];
    if (port !== undefined) encodeProperty(writer, TUPLE[name], () => writer.uint(port, 2, name));
  }
}

function encodeProperty(writer: Writer, type: number, value: () => void): void {
  const start = writer.length;
  writer.uint(type, 2, "property");
  writer.zeros(2);
  value();
  writer.patchLength(start + 2, start, "a property");
  writer.pad(start);
}

/** IPv4 as an IPv4-mapped IPv6 address. */
function parseMapped(name: string, text: string): Uint8Array {
  const bytes = parseIp(text);
  if (bytes === undefined) throw new OpenflowValueError(name, text, "an IP address");
  return bytes.length === 16 ? bytes : Buffer.concat([Buffer.from("00000000000000000000ffff", "hex"), bytes]);
}
