import { encodeActions } from "./actions/encode.ts";
import { encodeConntrackFlush, FLUSH_SUBTYPE, FLUSH_ZONE_SUBTYPE } from "./conntrack-flush.ts";
import { encodeFlowFilter, encodeFlowMod } from "./flow.ts";
import { encodeGroupMod } from "./group.ts";
import { encodeMatch } from "./match/match.ts";
import { type BundledRequest, MESSAGE, type PacketOut, type Request, type StatisticsRequest } from "./message.ts";
import { PORT } from "./port.ts";
import { formatRequest } from "./text.ts";
import { NICIRA, OPENFLOW_14, OPENFLOW_15, OpenflowValueError, type Writer } from "./wire.ts";

const VERSION_BITMAP = 1;
const BUNDLE_COMMANDS = { open: 0, commit: 4, discard: 6 } as const;
/** All or nothing, in the order given. */
const ATOMIC_ORDERED = 3;
const NO_BUFFER = 0xffffffff;
const ALL = 0xffffffff;
const ALL_GROUPS = 0xfffffffc;
/** OFPMP_* of section 7.3.5; OVS answers `flows` with counters in both versions. */
export const MULTIPART = { flows: 1, aggregate: 2, tables: 3, groups: 6, groupDescriptions: 7, ports: 13 } as const;

/** Appends the request as one message. Leaves nothing if it throws OpenflowValueError. */
export function encodeRequest(writer: Writer, xid: number, request: Request): void {
  try {
    encodeMessage(writer, TYPES[request.kind], xid, () => encodeBody(writer, request));
  } catch (error) {
    if (error instanceof OpenflowValueError) error.message += `, in: ${formatRequest(request)}`;
    throw error;
  }
}

/** Appends what adds the request to an open bundle. Both messages have the same xid, which errors refer to. */
export function encodeBundled(writer: Writer, xid: number, bundle: number, request: BundledRequest): void {
  encodeMessage(writer, MESSAGE.bundleAdd, xid, () => {
    writer.uint(bundle, 4, "bundle");
    writer.zeros(2);
    writer.uint(ATOMIC_ORDERED, 2, "bundle flags");
    encodeRequest(writer, xid, request);
  });
}

const TYPES: { readonly [K in Request["kind"]]: number } = {
  hello: MESSAGE.hello,
  echo: MESSAGE.echoRequest,
  echoReply: MESSAGE.echoReply,
  features: MESSAGE.featuresRequest,
  barrier: MESSAGE.barrierRequest,
  watchPorts: MESSAGE.setConfig,
  flow: MESSAGE.flowMod,
  group: MESSAGE.groupMod,
  packetOut: MESSAGE.packetOut,
  flushZone: MESSAGE.experimenter,
  flushConnections: MESSAGE.experimenter,
  statistics: MESSAGE.multipartRequest,
  bundle: MESSAGE.bundleControl,
};

function encodeMessage(writer: Writer, type: number, xid: number, body: () => void): void {
  const start = writer.length;
  try {
    writer.uint(writer.version, 1, "version");
    writer.uint(type, 1, "type");
    writer.zeros(2);
    writer.uint(xid, 4, "xid");
    body();
    writer.patchLength(start + 2, start, "a message");
  } catch (error) {
    writer.truncate(start);
    throw error;
  }
}

function encodeBody(writer: Writer, request: Request) {
  switch (request.kind) {
    case "hello":
      writer.uint(VERSION_BITMAP, 2, "hello element");
      writer.uint(8, 2, "hello element");
      return writer.uint((1 << OPENFLOW_14) | (1 << OPENFLOW_15), 4, "versions");
    case "echo":
    case "features":
    case "barrier":
      return;
    case "echoReply":
      return writer.bytes(request.data);
    case "watchPorts":
      writer.zeros(2);
      // A length of packets sent to the controller: any but 0 subscribes this connection to what OVS reports.
      return writer.uint(0xffff, 2, "miss_send_len");
    case "flow":
      return encodeFlowMod(writer, request);
    case "group":
      return encodeGroupMod(writer, request);
    case "packetOut":
      return encodePacketOut(writer, request);
    case "flushZone":
    case "flushConnections":
      writer.uint(NICIRA, 4, "experimenter");
      writer.uint(request.kind === "flushZone" ? FLUSH_ZONE_SUBTYPE : FLUSH_SUBTYPE, 4, "subtype");
      return encodeConntrackFlush(writer, request);
    case "statistics":
      return encodeStatistics(writer, request);
    case "bundle":
      writer.uint(request.bundle, 4, "bundle");
      writer.uint(BUNDLE_COMMANDS[request.command], 2, "bundle command");
      return writer.uint(ATOMIC_ORDERED, 2, "bundle flags");
  }
}

function encodePacketOut(writer: Writer, { inPort = PORT.controller, actions, packet }: PacketOut): void {
  writer.uint(NO_BUFFER, 4, "buffer");
  if (writer.version === OPENFLOW_14) writer.uint(inPort, 4, "inPort");
  const lengthAt = writer.length;
  writer.zeros(writer.version === OPENFLOW_14 ? 8 : 4);
  if (writer.version === OPENFLOW_15) encodeMatch(writer, { inPort });
  const start = writer.length;
  encodeActions(writer, actions);
  writer.patchLength(lengthAt, start, "the actions of a packet-out");
  writer.bytes(packet);
}

function encodeStatistics(writer: Writer, request: StatisticsRequest) {
  writer.uint(MULTIPART[request.of], 2, "statistics");
  writer.zeros(6);
  if ("filter" in request || request.of === "flows" || request.of === "aggregate")
    return encodeFlowFilter(writer, ("filter" in request ? request.filter : undefined) ?? {});
  // OpenFlow 1.4 has no body in the requests for all ports and all descriptions.
  const hasBody = request.of === "groups" || (writer.version === OPENFLOW_15 && request.of !== "tables");
  if (!hasBody) return;
  writer.uint(request.of === "ports" ? ALL : ALL_GROUPS, 4, "statistics");
  writer.zeros(4);
}
