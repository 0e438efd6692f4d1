import { type Activation, type ActivationResult, IpamError } from "../../../contract/index.ts";
import { type PortRecord, toAttachment } from "../../model/port-record.ts";
import type { DecisionScope } from "../decision-scope.ts";
import { emitPortEvent } from "../port-event.ts";
import { nextEpoch } from "./inactive-binding.ts";

/** Makes the host's INACTIVE binding the ACTIVE one, with a new epoch, and ends the one that was ACTIVE. */
export function decideActivate({ name, host, epoch }: Activation, scope: DecisionScope): ActivationResult {
  const { working, context } = scope;
  const port = working.port(name);
  if (!port) throw new IpamError("not_found", `there is no port ${name}`, { field: "name" });
  const { binding, inactive } = port;
  if (binding?.host === host) return toAttachment(port, working.catalog);
  if (inactive?.host !== host) {
    const has = [binding && `ACTIVE on ${binding.host}`, inactive && `INACTIVE on ${inactive.host}`].filter(Boolean);
    throw new IpamError(
      "not_found",
      `port ${name} has no INACTIVE binding on host ${host} (it is ${has.join(", ") || "unbound"}); the target of a migration claims it first`,
      { field: "host", ports: [name] },
    );
  }
  if (epoch !== undefined && epoch !== inactive.epoch) {
    throw new IpamError(
      "conflict",
      `port ${name} has an INACTIVE binding of epoch ${inactive.epoch} on host ${host}, not of ${epoch}; look again`,
      { field: "epoch", ports: [name] },
    );
  }
  const { sandbox, attemptedAt, owner } = inactive;
  const newEpoch = nextEpoch(port, context);
  const activated: PortRecord = {
    ...port,
    owner,
    binding: { host, sandbox, attemptedAt, boundAt: context.now },
    inactive: undefined,
    epoch: newEpoch,
    lastEpoch: newEpoch,
    underlay: "BUILD",
    overlay: context.fabricManaged ? "BUILD" : "ACTIVE",
    previousBindingReleased: binding === undefined && port.previousBindingReleased,
    updatedAt: context.now,
    releasedAt: undefined,
    unneeded: undefined,
    expiresAt: undefined,
  };
  working.putPort(activated);
  const message = `migration ${inactive.migration.id}`;
  if (binding) emitPortEvent("port.moved", activated, scope, { fromHost: binding.host, message });
  else emitPortEvent("port.bound", activated, scope, { message });
  return toAttachment(activated, working.catalog);
}
