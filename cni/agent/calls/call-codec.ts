import type { Answer, Call } from "../../dispatch.ts";
import { type AnswerLine, PROTOCOL_VERSION } from "../../launcher/protocol.ts";
import { CNI_CODES, CniError } from "../../spec/cni-error.ts";
import { isObject } from "../../spec/shape.ts";
import { NEWEST_VERSION } from "../../spec/versions.ts";

/** Sized for the longest call: the list of valid attachments of a GC. */
const MAX_CALL_BYTES = 4 * 1024 * 1024;

export type Received = { kind: "call"; call: Call } | { kind: "refused"; answer: AnswerLine };

/**
 * Decodes one line of JSON from a connection of the executable. `push` returns undefined until the line is complete or too
 * long, then the call, or the answer to an invalid one.
 */
export class CallCodec {
  #chunks: Buffer[] = [];
  #length = 0;

  push(bytes: Buffer): Received | undefined {
    const end = bytes.indexOf(0x0a);
    const last = end === -1 ? bytes : bytes.subarray(0, end);
    this.#length += last.length;
    if (this.#length > MAX_CALL_BYTES) return reject(`the call is longer than ${MAX_CALL_BYTES} bytes`);
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
    return reject("the call is not JSON");
  }
  if (!isObject(raw)) return reject("the call is not a JSON object");
  const { version, env, stdin } = raw;
  // Checked first, because the other fields depend on the version.
  if (version !== PROTOCOL_VERSION) return rejectVersion(version);
  if (typeof stdin !== "string") return reject('the call has no text "stdin"');
  if (!isObject(env)) return reject('the call has no object "env"');
  const variables: Record<string, string> = {};
  for (const [key, value] of Object.entries(env)) {
    if (typeof value !== "string") return reject(`the call's env has no text for ${key}`);
    variables[key] = value;
  }
  return { kind: "call", call: { env: variables, stdin } };
}

function reject(why: string): Received {
  return { kind: "refused", answer: failed(CNI_CODES.decoding, `the agent cannot parse the call: ${why}`) };
}

/** Answers "try again later": the installer updates both to one version, and the executable handles DEL alone until then. */
function rejectVersion(version: unknown): Received {
  const message =
    `the executable speaks version ${JSON.stringify(version)} of the agent's protocol, the agent version ` +
    `${PROTOCOL_VERSION}: one of the two is being upgraded; if this lasts, install both from one release`;
  return { kind: "refused", answer: { ...failed(CNI_CODES.tryAgain, message), isMismatch: true } };
}

export function failed(code: ConstructorParameters<typeof CniError>[0], message: string): Answer {
  return { stdout: new CniError(code, message).toJson(NEWEST_VERSION), exitCode: 1 };
}
