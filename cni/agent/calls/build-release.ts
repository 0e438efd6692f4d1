import type { Release, Sandbox } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import type { PendingRelease } from "../../journal/entry.ts";
import { parseCniArgs } from "../../spec/cni-args.ts";
import type { CallFacts } from "../../verbs/backend.ts";
import type { HeldPorts } from "../ports/held-ports.ts";

/**
 * Returns the release of the sandbox's binding. It also names port and owner if this node holds the port for no other
 * sandbox, because the IPAM may not have seen the sandbox yet.
 */
export function buildRelease(held: HeldPorts, { invocation }: CallFacts, sandbox: Sandbox): PendingRelease {
  const ownerUid = findOwner(invocation);
  const found = held.find(ownerUid, sandbox.interface);
  if (found === undefined || (found.sandboxId !== undefined && found.sandboxId !== sandbox.id)) return { sandbox };
  return { name: found.port.name, sandbox, ownerUid };
}

/** No runtime creates a sandbox of this id: the IPAM ends the binding only if it has no sandbox. */
const NO_SANDBOX: Sandbox = { id: "none", interface: DEFAULT_INTERFACE };

/** Returns the release of a pre-claimed port. It changes nothing if a sandbox has claimed the port since. */
export function buildUnusedRelease(name: string, host: string, ownerUid: string): Release {
  return { name, host, ownerUid, sandbox: NO_SANDBOX };
}

/** Falls back to the container id for invalid CNI_ARGS, because DEL succeeds on invalid input (CNI spec, section 4). */
function findOwner({ args, containerId }: CallFacts["invocation"]): string {
  try {
    return parseCniArgs(args).podUid ?? containerId;
  } catch {
    return containerId;
  }
}
