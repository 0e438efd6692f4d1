import type { Deadline } from "../deadline.ts";
import { decodeAttributes, decodeU32, encodeAttribute, encodeU32, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import { NetlinkError, type RouteSocket } from "./socket.ts";

// linux/rtnetlink.h, linux/fib_rules.h
const RTM_NEWRULE = 32;
const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const FRA_SRC = 2;
const FRA_PRIORITY = 6;
const FRA_TABLE = 15;
const FR_ACT_TO_TBL = 1;
const AF_INET = 2;
const AF_INET6 = 10;
/** Before the main table, whose rule has 32766. */
const PRIORITY = 10_000;

/** Packets from this address use this routing table first. */
export interface SourceRule {
  /** 4 or 16 bytes by family. */
  bytes: Buffer;
  table: number;
}

/** Idempotent. */
export async function addRule(socket: RouteSocket, rule: SourceRule, deadline: Deadline): Promise<void> {
  try {
    await socket.request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, encodeRule(rule), deadline);
  } catch (error) {
    if (!(error instanceof NetlinkError && error.code === "EEXIST")) throw error;
  }
}

export async function deleteRule(socket: RouteSocket, rule: SourceRule, deadline: Deadline): Promise<void> {
  await socket.request(RTM_DELRULE, 0, encodeRule(rule), deadline);
}

/** Lists the rules of both families that select a table by one source address. */
export async function fetchRules(socket: RouteSocket, deadline: Deadline): Promise<SourceRule[]> {
  const messages = await socket.dump(RTM_GETRULE, [Buffer.alloc(12)], deadline);
  return messages
    .filter(({ payload }) => payload.readUInt8(7) === FR_ACT_TO_TBL)
    .map(({ payload }) => {
      const attributes = decodeAttributes(payload.subarray(12));
      const isHost = payload.readUInt8(2) === (payload.readUInt8(0) === AF_INET ? 32 : 128);
      const bytes = isHost ? attributes.get(FRA_SRC) : undefined;
      return bytes && { bytes, table: decodeU32(attributes.get(FRA_TABLE)) ?? payload.readUInt8(4) };
    })
    .filter(rule => rule !== undefined);
}

function encodeRule({ bytes, table }: SourceRule): Buffer[] {
  const family = bytes.length === 4 ? AF_INET : AF_INET6;
  // The table is in its attribute, because it may exceed the header's byte.
  const header = Buffer.from([family, 0, bytes.length * 8, 0, 0, 0, 0, FR_ACT_TO_TBL, ...[0, 0, 0, 0]]);
  return [
    header,
    encodeAttribute(FRA_SRC, bytes),
    encodeAttribute(FRA_PRIORITY, encodeU32(PRIORITY)),
    encodeAttribute(FRA_TABLE, encodeU32(table)),
  ];
}
