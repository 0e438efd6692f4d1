import { type Claim, type ClaimResult, IpamError, type SlotOf } from "../../contract/index.ts";
import { type ParsedClaim, parseClaim } from "../model/mutation.ts";
import { locate } from "../model/needs.ts";
import type { PortRecord } from "../model/port-record.ts";
import { slotName, slotSeries } from "../model/slots.ts";
import { isWaitingFor, type RecoveryState } from "../recovery/recovery-state.ts";
import { bindPort, createBound } from "./decide-claim.ts";
import { removePort } from "./decide-delete.ts";
import type { DecisionScope } from "./decision-scope.ts";

const RETRY_AFTER_SECONDS = 3;

/**
 * "My sandbox has this plugged": binds the port with the addresses and the MAC that the sandbox uses, or fails. What is
 * plugged is newer than a backup, so during recovery an unbound port of the backup gives its address up.
 */
export function decidePluggedClaim(unparsed: Claim, scope: DecisionScope): ClaimResult {
  const name = assertComplete(unparsed);
  const { families: _any, ...parsed } = parseClaim(unparsed, scope.context.now, scope.working.port(name));
  const claim: ParsedClaim = { ...parsed, onMismatch: "reallocate" };
  freeFromBackup(name, claim, scope);
  const port = scope.working.port(name);
  const { recovery } = scope.context;
  if (recovery && claim.migration && port?.binding === undefined) {
    throw waitError(`port ${name} is not bound yet, and a migration's target comes after its source`, name);
  }
  if (!port) return createBound({ name, slot: claim.slotOf && parseSlot(name, claim.slotOf) }, claim, scope);
  try {
    return bindPort(port, claim, scope);
  } catch (error) {
    if (!recovery || !mayBeOutdated(port, recovery)) throw error;
    const { message } = IpamError.from(error);
    throw waitError(`${message}, in the backup; waiting for host ${port.binding?.host}'s report`, name);
  }
}

/** True while the host that has the port in the backup may have lost it since. */
const mayBeOutdated = ({ binding, cluster }: PortRecord, recovery: RecoveryState): boolean =>
  binding !== undefined && isWaitingFor(recovery, cluster, binding.host);

const waitError = (message: string, port: string) =>
  new IpamError("unavailable", message, { ports: [port], retryAfterSeconds: RETRY_AFTER_SECONDS });

function assertComplete({ name, sandbox, ips, leasedPort }: Claim): string {
  const fail = (field: string, message: string): never => {
    throw new IpamError("invalid_request", `${field} ${message}, because plugged claims what a sandbox has`, { field });
  };
  if (sandbox === undefined) fail("sandbox", "is missing; expected the sandbox's id and interface");
  if (ips === undefined || ips.length === 0) fail("ips", "is missing; expected the plugged addresses");
  if (leasedPort !== undefined) fail("leasedPort", `is ${leasedPort}; leave it out`);
  return name ?? fail("name", "is missing; expected the plugged port's name");
}

/** Throws `invalid_request` for a name that is no slot of the application. */
function parseSlot(name: string, slotOf: SlotOf): NonNullable<PortRecord["slot"]> {
  const number = Number(name.slice(slotOf.application.length + 1).split("/")[0]);
  if (Number.isSafeInteger(number) && slotName(slotOf, number) === name) return { of: slotSeries(slotOf), number };
  throw new IpamError(
    "invalid_request",
    `name is ${name}; expected a slot of slotOf.application, such as ${slotName(slotOf, 0)}`,
    { field: "name" },
  );
}

/**
 * Deletes the unbound ports that have the claim's addresses, protected ones too: the address is in use, so keeping it for
 * them would give it out twice. Throws `unavailable` while the host of another port with one has not reported.
 */
function freeFromBackup(name: string, claim: ParsedClaim, scope: DecisionScope): void {
  const { working, context } = scope;
  const { recovery } = context;
  if (recovery === undefined) return;
  const outdated = new Map<PortRecord, string>();
  for (const ip of (claim.ips ?? []).flatMap(text => locate(text, working.catalog))) {
    const state = working.address(ip);
    const holder = state && "heldBy" in state ? working.portByKey(state.heldBy) : undefined;
    if (holder === undefined || holder.name === name) continue;
    const [address = ""] = working.addressTexts([ip]);
    const bindings = [holder.binding, holder.inactive].filter(binding => binding !== undefined);
    if (bindings.length === 0) outdated.set(holder, address);
    const awaited = bindings.find(({ host }) => isWaitingFor(recovery, holder.cluster, host));
    if (!awaited) continue;
    throw waitError(
      `${address} is bound to port ${holder.name} on host ${awaited.host} in the backup; waiting for that host's report`,
      holder.name,
    );
  }
  for (const [holder, address] of outdated) {
    const despite = holder.isProtected ? ", though the port was protected" : "";
    removePort(holder, scope, `host ${claim.host} has ${address} plugged for port ${name} since the backup${despite}`);
  }
}
