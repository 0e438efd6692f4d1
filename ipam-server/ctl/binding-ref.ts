import { InvalidArgumentError } from "commander";
import type { Release } from "../contract/index.ts";
import { DEFAULT_INTERFACE } from "../contract/port.ts";

/** The binding a release is meant for. */
export type BindingRef = Omit<Release, "name">;

const KEYS = ["host", "sandbox", "interface", "owner"];
const SHAPE = "Expected host=H,sandbox=ID,interface=IF or host=H,owner=UID.";

/** Reads `host=node-a,sandbox=4c1f,interface=eth0`; the interface is `eth0` when it is not given. */
export function parseFence(text: string): BindingRef {
  const given = new Map<string, string>();
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    const key = part.slice(0, Math.max(at, 0)).trim();
    const value = part.slice(at + 1).trim();
    if (!KEYS.includes(key) || value === "")
      throw new InvalidArgumentError(`${JSON.stringify(part)} is no part of it. ${SHAPE}`);
    if (given.has(key)) throw new InvalidArgumentError(`${key} is given twice. ${SHAPE}`);
    given.set(key, value);
  }
  const host = given.get("host");
  const id = given.get("sandbox");
  const ownerUid = given.get("owner");
  if (host === undefined) throw new InvalidArgumentError(`The host is missing. ${SHAPE}`);
  if (id !== undefined && ownerUid === undefined) {
    return { host, sandbox: { id, interface: given.get("interface") ?? DEFAULT_INTERFACE } };
  }
  if (ownerUid !== undefined && id === undefined && !given.has("interface")) return { host, ownerUid };
  throw new InvalidArgumentError(`Exactly one of sandbox and owner tells whose binding it is. ${SHAPE}`);
}
