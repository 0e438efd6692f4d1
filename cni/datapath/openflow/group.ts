import type { Action } from "./actions/action.ts";
import { decodeActions } from "./actions/decode.ts";
import { encodeActions } from "./actions/encode.ts";
import { FIELDS, type FieldName } from "./match/field.ts";
import { decodeOxm, encodeFieldHeader } from "./match/match.ts";
import { OPENFLOW_15, OpenflowValueError, type Reader, type Writer } from "./wire.ts";

export interface Bucket {
  readonly id: number;
  /** Of a select group: its share of the connections, by default 1. */
  readonly weight?: number;
  readonly actions: readonly Action[];
}

/** How a select group chooses (ovs-ofctl(8)): `dp_hash` by the datapath's hash, `hash` by the values of `fields`. */
export interface Selection {
  readonly method: "dp_hash" | "hash";
  /** Makes the choice another one. */
  readonly parameter?: bigint;
  readonly fields?: readonly FieldName[];
}

/** OpenFlow 1.4 has neither bucket ids nor a selection: OVS numbers the buckets and chooses by dp_hash. */
export interface Group {
  readonly id: number;
  readonly type: "all" | "select" | "indirect";
  readonly selection?: Selection;
  readonly buckets: readonly Bucket[];
}

/** `insertBuckets` and `removeBucket` need OpenFlow 1.5. OVS 3 corrupts dp_hash groups by them: send those as a whole. */
export type GroupMod =
  | { readonly kind: "group"; readonly command: "add" | "modify" | "addOrModify"; readonly group: Group }
  | { readonly kind: "group"; readonly command: "delete"; readonly id: number | "all" }
  | {
      readonly kind: "group";
      readonly command: "insertBuckets";
      readonly id: number;
      /** Or behind the bucket of this id. */
      readonly at: "first" | "last" | number;
      readonly buckets: readonly Bucket[];
    }
  | {
      readonly kind: "group";
      readonly command: "removeBucket";
      readonly id: number;
      readonly bucket: "first" | "last" | "all" | number;
    };

const TYPES = { all: 0, select: 1, indirect: 2 } as const;
const TYPE_NAMES = ["all", "select", "indirect"] as const;
/** `addOrModify` is OVS's own. */
const COMMANDS = { add: 0, modify: 1, delete: 2, insertBuckets: 3, removeBucket: 5, addOrModify: 0x8000 } as const;
const ALL_GROUPS = 0xfffffffc;
const BUCKET = { first: 0xfffffffd, last: 0xfffffffe, all: 0xffffffff } as const;
const ANY = 0xffffffff;
const WEIGHT = 0;
const EXPERIMENTER = 0xffff;
/** Netronome's, of the property that OVS took over (lib/ofp-group.c). */
const NETRONOME = 0x154d;
const SELECTION_METHOD = 1;
const METHOD_BYTES = 16;

export function encodeGroupMod(writer: Writer, mod: GroupMod): void {
  const group = "group" in mod ? mod.group : undefined;
  const isSelect = group === undefined || group.type === "select";
  const buckets = group?.buckets ?? ("buckets" in mod ? mod.buckets : []);
  writer.uint(COMMANDS[mod.command], 2, "group command");
  writer.uint(TYPES[group?.type ?? "all"], 1, "group type");
  writer.zeros(1);
  writer.uint(group?.id ?? idOf(mod), 4, "group id");
  if (writer.version !== OPENFLOW_15) {
    if (mod.command === "insertBuckets" || mod.command === "removeBucket")
      throw new OpenflowValueError("group command", mod.command, "sent over OpenFlow 1.5, which has ids of buckets");
    for (const bucket of buckets) encodeBucket14(writer, bucket, isSelect);
    return;
  }
  const lengthAt = writer.length;
  writer.zeros(4);
  writer.uint(bucketOf(mod), 4, "bucket id");
  const start = writer.length;
  for (const bucket of buckets) encodeBucket15(writer, bucket, isSelect);
  writer.patchLength(lengthAt, start, "the buckets of a group");
  if (group?.selection) encodeSelection(writer, group.selection);
}

function idOf(mod: GroupMod): number {
  return "id" in mod && mod.id !== "all" ? mod.id : ALL_GROUPS;
}

function bucketOf(mod: GroupMod): number {
  const bucket = mod.command === "insertBuckets" ? mod.at : mod.command === "removeBucket" ? mod.bucket : "all";
  return typeof bucket === "number" ? bucket : BUCKET[bucket];
}

function encodeBucket15(writer: Writer, { id, weight, actions }: Bucket, isSelect: boolean): void {
  const start = writer.length;
  writer.zeros(4);
  writer.uint(id, 4, "bucket id");
  encodeActions(writer, actions);
  writer.patchLength(start + 2, start + 8, "the actions of a bucket");
  if (isSelect && weight !== undefined) {
    writer.uint(WEIGHT, 2, "property");
    writer.uint(8, 2, "property");
    writer.uint(weight, 2, "bucket weight");
    writer.zeros(2);
  }
  writer.patchLength(start, start, "a bucket");
}

function encodeBucket14(writer: Writer, { weight = 1, actions }: Bucket, isSelect: boolean): void {
  const start = writer.length;
  writer.zeros(2);
  writer.uint(isSelect ? weight : 0, 2, "bucket weight");
  writer.uint(ANY, 4, "watch port");
  writer.uint(ANY, 4, "watch group");
  writer.zeros(4);
  encodeActions(writer, actions);
  writer.patchLength(start, start, "a bucket");
}

function encodeSelection(writer: Writer, { method, parameter = 0n, fields = [] }: Selection): void {
  const start = writer.length;
  writer.uint(EXPERIMENTER, 2, "property");
  writer.zeros(2);
  writer.uint(NETRONOME, 4, "experimenter");
  writer.uint(SELECTION_METHOD, 4, "property");
  writer.zeros(4);
  writer.bytes(Buffer.from(method.padEnd(METHOD_BYTES, "\0")));
  writer.uint64(parameter, "selection parameter");
  for (const field of fields) {
    encodeFieldHeader(writer, field);
    // All bits of the field.
    writer.bytes(new Uint8Array(FIELDS[field].sizeBytes).fill(0xff));
  }
  writer.patchLength(start + 2, start, "a selection");
  writer.pad(start);
}

/** Reads the rest of a description, after type and id. */
export function decodeGroup(reader: Reader, id: number, typeCode: number): Group {
  const type = TYPE_NAMES[typeCode];
  if (type === undefined) throw reader.unsupported(`group ${id} of type ${typeCode}`);
  if (reader.version !== OPENFLOW_15) return { id, type, buckets: decodeBuckets(reader, decodeBucket14, type) };
  const bucketBytes = reader.uint(2);
  reader.skip(6);
  const buckets = decodeBuckets(reader.within(bucketBytes, "buckets"), decodeBucket15, type);
  const selection = decodeSelection(reader);
  return { id, type, ...(selection ? { selection } : {}), buckets };
}

type DecodeBucket = (reader: Reader, index: number, type: Group["type"]) => Bucket;

function decodeBuckets(reader: Reader, decode: DecodeBucket, type: Group["type"]): Bucket[] {
  const buckets: Bucket[] = [];
  while (reader.remaining > 0) {
    const length = reader.uint(2);
    buckets.push(decode(reader.within(length - 2, "a bucket"), buckets.length, type));
  }
  return buckets;
}

function decodeBucket15(reader: Reader): Bucket {
  const actionBytes = reader.uint(2);
  const id = reader.uint(4);
  const actions = decodeActions(reader.within(actionBytes, "actions of a bucket"));
  let weight = 1;
  while (reader.remaining > 0) {
    const [type, length] = [reader.uint(2), reader.uint(2)];
    const property = reader.within(length - 4, "a property of a bucket");
    reader.skipPadding(length);
    if (type === WEIGHT) weight = property.uint(2);
  }
  return { id, ...shareOf(weight), actions };
}

function decodeBucket14(reader: Reader, index: number, type: Group["type"]): Bucket {
  const weight = reader.uint(2);
  reader.skip(12);
  const actions = decodeActions(reader.within(reader.remaining, "actions of a bucket"));
  return { id: index, ...(type === "select" ? shareOf(weight) : {}), actions };
}

function shareOf(weight: number): { weight?: number } {
  return weight === 1 ? {} : { weight };
}

function decodeSelection(reader: Reader): Selection | undefined {
  let selection: Selection | undefined;
  while (reader.remaining > 0) {
    const [type, length] = [reader.uint(2), reader.uint(2)];
    const property = reader.within(length - 4, "a property of a group");
    reader.skipPadding(length);
    if (type !== EXPERIMENTER || property.uint(4) !== NETRONOME || property.uint(4) !== SELECTION_METHOD)
      throw reader.unsupported("a property of a group");
    property.skip(4);
    const method = property.text(METHOD_BYTES);
    const parameter = property.uint64();
    const fields: FieldName[] = [];
    while (property.remaining > 0) fields.push(decodeOxm(property).name);
    if (method !== "dp_hash" && method !== "hash") throw reader.unsupported(`selection method ${method}`);
    selection = {
      method,
      ...(parameter === 0n ? {} : { parameter }),
      ...(fields.length === 0 ? {} : { fields }),
    };
  }
  return selection;
}
