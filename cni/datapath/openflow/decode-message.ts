import { MULTIPART } from "./encode-message.ts";
import type { Frame } from "./frame.ts";
import { type ErrorReply, MESSAGE, type Reply, type StatisticsEntries, type StatisticsReply } from "./message.ts";
import {
  decodeAggregate,
  decodeFlowStatistics,
  decodeGroupDescription,
  decodeGroupStatistics,
  decodePort,
  decodeTable,
} from "./statistics.ts";
import { OPENFLOW_14, OPENFLOW_15, Reader, type Version } from "./wire.ts";

const VERSION_BITMAP = 1;
const EXPERIMENTER_ERROR = 0xffff;
const HELLO_FAILED = 0;
const HAS_MORE = 1;
const REASONS = ["added", "deleted", "modified"] as const;

type Decoders = { readonly [K in keyof StatisticsEntries]: (reader: Reader) => StatisticsEntries[K] };
const DECODERS: Decoders = {
  flows: decodeFlowStatistics,
  aggregate: decodeAggregate,
  tables: decodeTable,
  groups: decodeGroupStatistics,
  groupDescriptions: decodeGroupDescription,
  ports: decodePort,
};
const KINDS = new Map<number, keyof StatisticsEntries>(
  Object.entries(MULTIPART).map(([kind, type]) => [type, kind as keyof StatisticsEntries]),
);

/** Decodes what OVS sends. Throws OpenflowProtocolError if it is damaged. */
export function decodeReply({ version, type, body }: Frame): Reply {
  const reader = new Reader(body, version === OPENFLOW_14 ? OPENFLOW_14 : OPENFLOW_15, `message of type ${type}`);
  switch (type) {
    case MESSAGE.hello:
      return { kind: "hello", versions: decodeVersions(reader, version) };
    case MESSAGE.error:
      return decodeError(reader);
    case MESSAGE.echoRequest:
      return { kind: "echoRequest", data: body };
    case MESSAGE.echoReply:
      return { kind: "echoReply", data: body };
    case MESSAGE.featuresReply: {
      const datapathId = reader.uint64();
      reader.skip(4);
      return { kind: "features", datapathId, tables: reader.uint(1) };
    }
    case MESSAGE.portStatus: {
      const reason = REASONS[reader.uint(1)];
      reader.skip(7);
      if (reason === undefined) throw reader.error("a reason from 0 to 2 is expected");
      return { kind: "portStatus", reason, port: decodePort(reader) };
    }
    case MESSAGE.barrierReply:
      return { kind: "barrierReply" };
    case MESSAGE.bundleControl:
      return { kind: "bundleReply", bundle: reader.uint(4) };
    case MESSAGE.multipartReply:
      return decodeStatistics(reader);
    default:
      return { kind: "other", type };
  }
}

/** The highest version that both ends speak, if there is one. */
export function selectVersion(versions: readonly number[]): Version | undefined {
  if (versions.includes(OPENFLOW_15)) return OPENFLOW_15;
  return versions.includes(OPENFLOW_14) ? OPENFLOW_14 : undefined;
}

/** Those of the bitmap; without one, all up to the header's (OpenFlow 1.5 section 6.3.1). */
function decodeVersions(reader: Reader, highest: number): number[] {
  while (reader.remaining >= 4) {
    const [type, length] = [reader.uint(2), reader.uint(2)];
    const element = reader.within(length - 4, "an element of hello");
    if (type === VERSION_BITMAP && element.remaining >= 4) {
      const bitmap = element.uint(4);
      return Array.from({ length: 32 }, (_, version) => version).filter(version => (bitmap >>> version) & 1);
    }
    reader.skip(Math.min(-length & 7, reader.remaining));
  }
  return Array.from({ length: highest + 1 }, (_, version) => version);
}

function decodeError(reader: Reader): ErrorReply {
  const [type, code] = [reader.uint(2), reader.uint(2)];
  if (type === EXPERIMENTER_ERROR) return { kind: "error", type, code, experimenter: reader.uint(4) };
  return { kind: "error", type, code, ...(type === HELLO_FAILED ? { text: reader.text(reader.remaining) } : {}) };
}

function decodeStatistics(reader: Reader): Reply {
  const type = reader.uint(2);
  const hasMore = (reader.uint(2) & HAS_MORE) !== 0;
  reader.skip(4);
  const of = KINDS.get(type);
  return of === undefined ? { kind: "other", type: MESSAGE.multipartReply } : decodeEntries(reader, of, hasMore);
}

function decodeEntries<K extends keyof StatisticsEntries>(reader: Reader, of: K, hasMore: boolean): StatisticsReply<K> {
  const entries: StatisticsEntries[K][] = [];
  while (reader.remaining > 0) entries.push(DECODERS[of](reader));
  return { kind: "statistics", of, hasMore, entries };
}
