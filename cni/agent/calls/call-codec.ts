import type { Answer, Call } from "../../dispatch.ts";
import { type AnswerLine, PROTOCOL_VERSION } from "../../launcher/protocol.ts";
import { CNI_CODES, CniError } from "../../spec/cni-error.ts";
import { isObject } from "../../spec/shape.ts";
import { NEWEST_VERSION } from "../../spec/versions.ts";

/** A call is a network configuration and a few variables; a GC's list of attachments is the longest of them. */
const MAX_CALL_BYTES = 4 * 1024 * 1024;

/** What a connection sent, as far as it can be understood. */
export type Received = { kind: "call"; call: Call } | { kind: "refused"; answer: AnswerLine };

/**
 * The executable's side of the socket: one line of JSON a connection. Fed with bytes as they come; gives the call, or the
 * answer to what is none, once the line is whole or too long.
 */
export class CallCodec {
  #chunks: Buffer[] = [];
  #length = 0;

  push(bytes: Buffer): Received | undefined {
    const end = bytes.indexOf(0x0a);
    const last = end === -1 ? bytes : bytes.subarray(0, end);
    this.#length += last.length;
    if (this.#length > MAX_CALL_BYTES) return refuse(`the call is longer than ${MAX_CALL_BYTES} bytes`);
    this.#chunks.push(last);
    return end === -1 ? undefined : parseCall(Buffer.concat(this.#chunks).toString("utf8"));
  }
}

export function formatAnswer(answer: AnswerLine): string {
  return `${JSON.stringify(answer)}\n`;
}

function parseCall(line: string): Received {
  let raw: unknown;
  try {
    raw = JSON.parse(line);
  } catch {
    return refuse("the call is not JSON");
  }
  if (!isObject(raw)) return refuse("the call is not a JSON object");
  const { version, env, stdin } = raw;
  // The version first: what else another version sends is not known.
  if (version !== PROTOCOL_VERSION) return refuseVersion(version);
  if (typeof stdin !== "string") return refuse('the call has no text "stdin"');
  if (!isObject(env)) return refuse('the call has no object "env"');
  const variables: Record<string, string> = {};
  for (const [key, value] of Object.entries(env)) {
    if (typeof value !== "string") return refuse(`the call's env has no text for ${key}`);
    variables[key] = value;
  }
  return { kind: "call", call: { env: variables, stdin } };
}

function refuse(why: string): Received {
  return { kind: "refused", answer: failed(CNI_CODES.decoding, `the agent cannot read its caller: ${why}`) };
}

/** "Try again": the installer brings both to the same version, and until then the executable does what it can alone. */
function refuseVersion(version: unknown): Received {
  const message =
    `the executable speaks version ${JSON.stringify(version)} of the agent's protocol, the agent version ` +
    `${PROTOCOL_VERSION}: one of the two is being upgraded; if this lasts, install both from one release`;
  return { kind: "refused", answer: { ...failed(CNI_CODES.tryAgain, message), isMismatch: true } };
}

export function failed(code: ConstructorParameters<typeof CniError>[0], message: string): Answer {
  return { stdout: new CniError(code, message).toJson(NEWEST_VERSION), exitCode: 1 };
}
