import { InvalidArgumentError } from "commander";
import type { Release } from "../../contract/index.ts";
import { DEFAULT_INTERFACE } from "../../contract/port.ts";

/** Identifies the binding to release. */
export type BindingRef = Omit<Release, "name">;

const KEYS = ["host", "sandbox", "interface", "owner"];
const SHAPE = "Expected host=H,sandbox=ID,interface=IF or host=H,owner=UID.";

/** Parses `host=node-a,sandbox=4c1f,interface=eth0`; the interface defaults to `eth0`. Throws InvalidArgumentError. */
export function parseBindingRef(text: string): BindingRef {
  const given = new Map<string, string>();
  for (const part of text.split(",")) {
    const separator = part.indexOf("=");
    const key = part.slice(0, Math.max(separator, 0)).trim();
    const value = part.slice(separator + 1).trim();
    if (!KEYS.includes(key) || value === "")
      throw new InvalidArgumentError(`${JSON.stringify(part)} is not accepted. ${SHAPE}`);
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
  throw new InvalidArgumentError(`Give exactly one of sandbox and owner. ${SHAPE}`);
}
