import { parseIp } from "../../kernel/ip-bytes.ts";
import { decodeFieldHeader, encodeFieldHeader } from "../match/match.ts";
import { formatAddress } from "../match/value.ts";
import { OpenflowValueError, type Reader, type Writer } from "../wire.ts";
import type { Action, CtAction, FieldSlice, Nat } from "./action.ts";
import { decodeRange, encodeNicira, encodeRange } from "./nicira.ts";

const COMMIT = 1;
const FORCE = 2;
const NO_TABLE = 0xff;
const CHANGE = { src: 1, dst: 2 } as const;
const IPV4_MIN = 1;
const IPV4_MAX = 2;
const IPV6_MIN = 4;
const IPV6_MAX = 8;
const PORT_MIN = 16;
const PORT_MAX = 32;

/** `encodeNested` writes the actions inside. */
export function encodeCt(writer: Writer, ct: CtAction, encodeNested: (actions: readonly Action[]) => void): void {
  encodeNicira(writer, "ct", () => {
    writer.uint((ct.commit ? COMMIT : 0) | (ct.force ? FORCE : 0), 2, "ct flags");
    if (typeof ct.zone === "number") {
      writer.zeros(4);
      writer.uint(ct.zone, 2, "ct zone");
    } else {
      encodeFieldHeader(writer, ct.zone.field);
      encodeRange(writer, ct.zone);
    }
    writer.uint(ct.table ?? NO_TABLE, 1, "ct table");
    // Padding, and no helper of the kernel's (ALG).
    writer.zeros(5);
    if (ct.nat) encodeNat(writer, ct.nat);
    encodeNested(ct.exec ?? []);
  });
}

/** `decodeNested` reads the actions inside. */
export function decodeCt(reader: Reader, decodeNested: (reader: Reader) => (Action | Nat)[]): CtAction {
  const flags = reader.uint(2);
  const zone = decodeZone(reader);
  const table = reader.uint(1);
  reader.skip(3);
  if (reader.uint(2) !== 0) throw reader.unsupported("a helper (alg)");
  const nested = decodeNested(reader);
  const nat = nested.find((each): each is Nat => !("kind" in each));
  const exec = nested.filter(each => "kind" in each && (each.kind === "set" || each.kind === "move"));
  if (exec.length + (nat ? 1 : 0) !== nested.length) throw reader.unsupported("an action inside ct");
  return {
    kind: "ct",
    ...(flags & COMMIT ? { commit: true } : {}),
    ...(flags & FORCE ? { force: true } : {}),
    zone,
    ...(table === NO_TABLE ? {} : { table }),
    ...(nat ? { nat } : {}),
    ...(exec.length > 0 ? { exec: exec as NonNullable<CtAction["exec"]> } : {}),
  };
}

function decodeZone(reader: Reader): number | FieldSlice {
  if (reader.peek(4) !== 0) return { field: decodeFieldHeader(reader), ...decodeRange(reader) };
  reader.skip(4);
  return reader.uint(2);
}

export function encodeNat(writer: Writer, nat: Nat): void {
  const { change, address, addressTo, port, portTo } = nat;
  if (change === undefined && (address ?? port) !== undefined)
    throw new OpenflowValueError("nat change", change, '"src" or "dst" where there is an address or a port');
  if (address === undefined && (addressTo ?? port) !== undefined)
    throw new OpenflowValueError("nat address", address, "an address where there is a range or a port");
  if (port === undefined && portTo !== undefined)
    throw new OpenflowValueError("nat port", port, "a port where there is a range of them");
  const first = address === undefined ? undefined : parseNatAddress(address);
  const last = addressTo === undefined ? undefined : parseNatAddress(addressTo, first?.length);
  const isIpv4 = first?.length === 4;
  const present =
    (first === undefined ? 0 : isIpv4 ? IPV4_MIN : IPV6_MIN) |
    (last === undefined ? 0 : isIpv4 ? IPV4_MAX : IPV6_MAX) |
    (port === undefined ? 0 : PORT_MIN) |
    (portTo === undefined ? 0 : PORT_MAX);
  encodeNicira(writer, "nat", () => {
    writer.zeros(2);
    writer.uint(change === undefined ? 0 : CHANGE[change], 2, "nat flags");
    writer.uint(present, 2, "nat range");
    if (first) writer.bytes(first);
    if (last) writer.bytes(last);
    if (port !== undefined) writer.uint(port, 2, "nat port");
    if (portTo !== undefined) writer.uint(portTo, 2, "nat portTo");
  });
}

export function decodeNat(reader: Reader): Nat {
  reader.skip(2);
  const flags = reader.uint(2);
  const present = reader.uint(2);
  if (flags > CHANGE.dst) throw reader.unsupported(`nat flags 0x${flags.toString(16)}`);
  const address = (ipv4: number, ipv6: number) =>
    present & ipv4 ? formatAddress(reader.bytes(4)) : present & ipv6 ? formatAddress(reader.bytes(16)) : undefined;
  const first = address(IPV4_MIN, IPV6_MIN);
  const last = address(IPV4_MAX, IPV6_MAX);
  return {
    ...(flags === 0 ? {} : { change: flags === CHANGE.src ? "src" : "dst" }),
    ...(first === undefined ? {} : { address: first }),
    ...(last === undefined ? {} : { addressTo: last }),
    ...(present & PORT_MIN ? { port: reader.uint(2) } : {}),
    ...(present & PORT_MAX ? { portTo: reader.uint(2) } : {}),
  };
}

function parseNatAddress(text: string, length?: number | undefined): Buffer {
  const bytes = parseIp(text);
  if (bytes === undefined || (length !== undefined && bytes.length !== length) || bytes.every(byte => byte === 0))
    throw new OpenflowValueError("nat address", text, "an IP address other than zero, of one family in a range");
  return bytes;
}
