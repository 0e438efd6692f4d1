import { parseIp } from "../../kernel/ip-bytes.ts";
import { OpenflowValueError, type Reader, type Writer } from "../wire.ts";
import type { Field, FieldName, NumberFieldName } from "./field.ts";

/** A number with the bits of it that count; alone, all of them do. */
export type NumberValue = number | { readonly value: number; readonly mask: number };

/**
 * What a field is compared with or set to. Texts: MAC `0a:58:00:00:00:01` or `01:00:00:00:00:00/01:00:00:00:00:00`;
 * address `10.0.0.1`, `10.0.0.0/8` or `10.0.0.1/255.0.0.255` (IPv6 alike); `ctState` as `+trk+new-rpl`.
 */
export type FieldValue<F extends FieldName> = F extends NumberFieldName ? NumberValue : string;
export type AnyValue = NumberValue | string;

const CT_STATES = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"] as const;
const CT_STATE = new RegExp(`^([+-](${CT_STATES.join("|")}))+$`);

interface Parts {
  readonly value: number | Uint8Array;
  readonly mask?: number | Uint8Array | undefined;
}

export function hasMask(field: Field, value: AnyValue): boolean {
  return typeof value === "object" || field.kind === "ctState" || (typeof value === "string" && value.includes("/"));
}

/** Writes the value and then, if there is one, the mask. */
export function encodeValue(writer: Writer, field: Field, value: AnyValue): void {
  const { value: bits, mask } = parse(field, value);
  write(writer, field, bits);
  if (mask !== undefined) write(writer, field, mask);
}

export function decodeValue(reader: Reader, field: Field, masked: boolean): AnyValue {
  if (field.kind === "number") {
    const value = readNumber(reader, field);
    return masked ? { value, mask: readNumber(reader, field) } : value;
  }
  if (field.kind === "ctState") {
    const value = reader.uint(4);
    return formatCtState(value, masked ? reader.uint(4) : 0xff);
  }
  const value = reader.bytes(field.sizeBytes);
  const text = field.kind === "mac" ? formatMac(value) : formatAddress(value);
  return masked ? `${text}/${formatMask(field, reader.bytes(field.sizeBytes))}` : text;
}

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join(":");
}

export function parseMac(text: string): Uint8Array | undefined {
  return /^([\da-f]{2}:){5}[\da-f]{2}$/i.test(text) ? Buffer.from(text.replaceAll(":", ""), "hex") : undefined;
}

/** With the longest run of zero groups left out, as inet_ntop(3) and ovs-ofctl write it. */
export function formatAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[i * 2] ?? 0) << 8) | (bytes[i * 2 + 1] ?? 0)).toString(16),
  );
  const runs = groups.map((_, start) => groups.slice(start).findIndex(group => group !== "0"));
  const lengths = runs.map((run, start) => (run === -1 ? groups.length - start : run));
  const longest = Math.max(...lengths);
  if (longest < 2) return groups.join(":");
  const start = lengths.indexOf(longest);
  return `${groups.slice(0, start).join(":")}::${groups.slice(start + longest).join(":")}`;
}

function parse(field: Field, value: AnyValue): Parts {
  if (field.kind === "number") {
    if (typeof value === "string") throw new OpenflowValueError(field.name, value, "a number");
    return typeof value === "number" ? { value } : value;
  }
  if (typeof value !== "string") throw new OpenflowValueError(field.name, value, "a text");
  if (field.kind === "ctState") return parseCtState(value);
  const [text = "", maskText, ...rest] = value.split("/");
  const bits = parseBytes(field, text);
  const mask = maskText === undefined ? undefined : (parsePrefix(field, maskText) ?? parseBytes(field, maskText));
  if (bits === undefined || rest.length > 0 || (maskText !== undefined && mask === undefined))
    throw new OpenflowValueError(field.name, value, ACCEPTED[field.kind]);
  return { value: bits, mask };
}

const ACCEPTED = {
  mac: "a MAC address, alone or with a mask: 01:00:00:00:00:00/01:00:00:00:00:00",
  ipv4: "an IPv4 address, alone or with a prefix length or a mask",
  ipv6: "an IPv6 address, alone or with a prefix length or a mask",
};

function parseBytes(field: Field, text: string): Uint8Array | undefined {
  const bytes = field.kind === "mac" ? parseMac(text) : parseIp(text);
  return bytes?.length === field.sizeBytes ? bytes : undefined;
}

function parsePrefix(field: Field, text: string): Uint8Array | undefined {
  if (field.kind === "mac" || !/^\d{1,3}$/.test(text) || Number(text) > field.bits) return undefined;
  return Uint8Array.from(
    { length: field.sizeBytes },
    (_, i) => 0xff00 >> Math.min(8, Math.max(0, Number(text) - i * 8)),
  );
}

function parseCtState(text: string): Parts {
  if (!CT_STATE.test(text))
    throw new OpenflowValueError("ct_state", text, `+ or - and one of ${CT_STATES.join(", ")}, any number of times`);
  const flags = [...text.matchAll(/([+-])([a-z]+)/g)].map(([, sign, state = ""]) => ({
    isSet: sign === "+",
    bit: 1 << CT_STATES.indexOf(state as (typeof CT_STATES)[number]),
  }));
  const combine = (chosen: typeof flags) => chosen.reduce((bits, { bit }) => bits | bit, 0);
  return { value: combine(flags.filter(({ isSet }) => isSet)), mask: combine(flags) };
}

function formatCtState(value: number, mask: number): string {
  return CT_STATES.map((state, bit) => (mask & (1 << bit) ? `${value & (1 << bit) ? "+" : "-"}${state}` : "")).join("");
}

/** A prefix length where the mask is one. */
function formatMask(field: Field, mask: Uint8Array): string {
  if (field.kind === "mac") return formatMac(mask);
  const bits = Array.from(mask, byte => byte.toString(2).padStart(8, "0")).join("");
  return /^1*0*$/.test(bits) ? String(bits.indexOf("0") === -1 ? bits.length : bits.indexOf("0")) : formatAddress(mask);
}

function readNumber(reader: Reader, field: Field): number {
  return reader.uint(field.sizeBytes as 1 | 2 | 4);
}

function write(writer: Writer, field: Field, value: number | Uint8Array): void {
  if (typeof value === "number") writer.uint(value, field.sizeBytes as 1 | 2 | 4, field.name);
  else writer.bytes(value);
}
