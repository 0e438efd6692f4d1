import type { ErrorReply, Request } from "./message.ts";
import { formatRequest } from "./text.ts";
import { NICIRA } from "./wire.ts";

/** What an error is about, its names' prefix and its names by code: OpenFlow 1.5 section 7.5.4, as far as OVS sends it. */
const TYPES: { readonly [type: number]: readonly [about: string, prefix: string, names: string] } = {
  0: ["hello failed", "OFPHFC", "INCOMPATIBLE EPERM"],
  1: [
    "bad request",
    "OFPBRC",
    "BAD_VERSION BAD_TYPE BAD_MULTIPART BAD_EXPERIMENTER BAD_EXP_TYPE EPERM BAD_LEN BUFFER_EMPTY BUFFER_UNKNOWN " +
      "BAD_TABLE_ID IS_SLAVE BAD_PORT BAD_PACKET MULTIPART_BUFFER_OVERFLOW MULTIPART_REQUEST_TIMEOUT " +
      "MULTIPART_REPLY_TIMEOUT MULTIPART_BAD_SCHED PIPELINE_FIELDS_ONLY UNKNOWN",
  ],
  2: [
    "bad action",
    "OFPBAC",
    "BAD_TYPE BAD_LEN BAD_EXPERIMENTER BAD_EXP_TYPE BAD_OUT_PORT BAD_ARGUMENT EPERM TOO_MANY BAD_QUEUE BAD_OUT_GROUP " +
      "MATCH_INCONSISTENT UNSUPPORTED_ORDER BAD_TAG BAD_SET_TYPE BAD_SET_LEN BAD_SET_ARGUMENT BAD_SET_MASK BAD_METER",
  ],
  3: [
    "bad instruction",
    "OFPBIC",
    "UNKNOWN_INST UNSUP_INST BAD_TABLE_ID UNSUP_METADATA UNSUP_METADATA_MASK BAD_EXPERIMENTER BAD_EXP_TYPE BAD_LEN " +
      "EPERM DUP_INST",
  ],
  4: [
    "bad match",
    "OFPBMC",
    "BAD_TYPE BAD_LEN BAD_TAG BAD_DL_ADDR_MASK BAD_NW_ADDR_MASK BAD_WILDCARDS BAD_FIELD BAD_VALUE BAD_MASK BAD_PREREQ " +
      "DUP_FIELD EPERM",
  ],
  5: [
    "flow rejected",
    "OFPFMFC",
    "UNKNOWN TABLE_FULL BAD_TABLE_ID OVERLAP EPERM BAD_TIMEOUT BAD_COMMAND BAD_FLAGS CANT_SYNC BAD_PRIORITY IS_SYNC",
  ],
  6: [
    "group rejected",
    "OFPGMFC",
    "GROUP_EXISTS INVALID_GROUP WEIGHT_UNSUPPORTED OUT_OF_GROUPS OUT_OF_BUCKETS CHAINING_UNSUPPORTED " +
      "WATCH_UNSUPPORTED LOOP UNKNOWN_GROUP CHAINED_GROUP BAD_TYPE BAD_COMMAND BAD_BUCKET BAD_WATCH EPERM " +
      "UNKNOWN_BUCKET BUCKET_EXISTS",
  ],
  10: ["configuration rejected", "OFPSCFC", "BAD_FLAGS BAD_LEN EPERM"],
  14: [
    "bad property",
    "OFPBPC",
    "BAD_TYPE BAD_LEN BAD_VALUE TOO_MANY DUP_TYPE BAD_EXPERIMENTER BAD_EXP_TYPE BAD_EXP_VALUE EPERM",
  ],
  17: [
    "bundle rejected",
    "OFPBFC",
    "UNKNOWN EPERM BAD_ID BUNDLE_EXIST BUNDLE_CLOSED OUT_OF_BUNDLES BAD_TYPE BAD_FLAGS MSG_BAD_LEN MSG_BAD_XID " +
      "MSG_UNSUP MSG_CONFLICT MSG_TOO_MANY MSG_FAILED TIMEOUT BUNDLE_IN_PROGRESS",
  ],
};

/** Nicira's errors, by OVS's include/openvswitch/ofp-errors.h. */
const NICIRA_ERRORS: { readonly [code: number]: readonly [about: string, name: string] } = {
  2: ["bad match", "NXBRC_NXM_INVALID"],
  3: ["bad match", "NXBRC_NXM_BAD_TYPE"],
  4: ["a field is not zero", "NXBRC_MUST_BE_ZERO"],
  10: ["an error that this version has no code for", "NXBRC_UNENCODABLE_ERROR"],
  11: ["an action's argument is not zero", "NXBAC_MUST_BE_ZERO"],
  12: ["hardware error", "NXFMFC_HARDWARE"],
  13: ["no such table", "NXFMFC_BAD_TABLE_ID"],
  15: ["bad conjunction", "NXBAC_BAD_CONJUNCTION"],
  22: ["versions in a bundle differ", "OFPBFC_BAD_VERSION"],
  37: ["bad field of variable length", "NXFMFC_INVALID_TLV_FIELD"],
  42: ["the datapath lacks conntrack for this action", "NXBAC_CT_DATAPATH_SUPPORT"],
  43: ["the datapath lacks conntrack for this match", "NXBMC_CT_DATAPATH_SUPPORT"],
};

/** How many errors of a batch are kept and shown. */
export const MAX_ERRORS_KEPT = 100;
const MAX_SHOWN = 3;
const MAX_REQUEST_TEXT = 400;

export interface Rejection {
  readonly request: Request;
  readonly reply: ErrorReply;
}

/** OVS rejected requests, which the message names. */
export class OpenflowErrorReply extends Error {
  override readonly name = "OpenflowErrorReply";
  /** The first ones; `count` of all. */
  readonly rejections: readonly Rejection[];
  readonly count: number;

  constructor(rejections: readonly Rejection[], count = rejections.length) {
    const shown = rejections
      .slice(0, MAX_SHOWN)
      .map(({ request, reply }) => `${formatError(reply)}: ${shorten(request)}`);
    super(shown.join("; ") + (count > shown.length ? `; and ${count - shown.length} more` : ""));
    this.rejections = rejections;
    this.count = count;
  }
}

/** Such as `bad action (OFPBAC_BAD_OUT_PORT)`. */
export function formatError({ type, code, experimenter, text }: ErrorReply): string {
  if (experimenter === NICIRA) {
    const [about, name] = NICIRA_ERRORS[code] ?? ["rejected", `Nicira's error ${code}`];
    return `${about} (${name})`;
  }
  const [about, prefix, names = ""] = TYPES[type] ?? ["rejected", ""];
  const name = names.split(" ")[code];
  const reason = name === undefined || name === "" ? `error type ${type}, code ${code}` : `${prefix}_${name}`;
  return text ? `${about} (${reason}): ${text}` : `${about} (${reason})`;
}

function shorten(request: Request): string {
  const text = formatRequest(request);
  return text.length > MAX_REQUEST_TEXT ? `${text.slice(0, MAX_REQUEST_TEXT)}...` : text;
}
