import { IpamError, LEASE_PREFIX, type PortReservation, type Reservation } from "../../contract/index.ts";
import { validateLabels } from "../model/labels.ts";
import type { ReserveResult } from "../model/mutation.ts";
import { type PortRecord, toPort } from "../model/port-record.ts";
import { createPort } from "./decide-claim.ts";
import type { DecisionScope } from "./decision-scope.ts";
import { choosePlacement } from "./placement/choose-placement.ts";
import { findAddedFamilies, findAddressMismatch } from "./placement/mismatch.ts";
import { reallocate } from "./placement/reallocate.ts";
import { emitPortEvent } from "./port-event.ts";

const NAMESPACE = /^(\*|[A-Za-z0-9._-]+\/(\*|[A-Za-z0-9._-]+))$/;

/** Reserves a name and its addresses for the namespaces that may claim it. Declarative and idempotent. */
export function decideReserve(name: string, request: PortReservation, scope: DecisionScope): ReserveResult {
  const { working } = scope;
  if (name.startsWith(LEASE_PREFIX)) {
    throw new IpamError("invalid_request", `name is ${name}, but ${LEASE_PREFIX} begins the names of leases`, {
      field: "name",
    });
  }
  validateLabels(request.labels ?? {}, "labels");
  const port = working.port(name);
  const reservation = toReservation(request, port);
  if (!port) {
    const placement = choosePlacement(request, { name, key: working.peekPortKey() }, scope);
    const created = createPort(name, placement, scope, {
      labels: request.labels ?? {},
      retention: { policy: "sticky" },
      reservation,
      cluster: undefined,
      namespace: undefined,
      workload: undefined,
    });
    emitPortEvent("port.reserved", created, scope);
    return { port: toPort(created, working.catalog), created: true };
  }
  return changeReservation(port, request, reservation, scope);
}

/** What the request leaves out stays as it is, so that reserving again never admits more namespaces by omission. */
function toReservation(request: PortReservation, port: PortRecord | undefined): Reservation {
  const allowedNamespaces =
    request.allowedNamespaces ?? port?.reservation?.allowedNamespaces ?? defaultNamespaces(port);
  const deviceOwner = request.deviceOwner ?? port?.reservation?.deviceOwner;
  const wrong = allowedNamespaces.find(text => !NAMESPACE.test(text));
  if (wrong !== undefined) {
    throw new IpamError(
      "invalid_request",
      `allowedNamespaces has ${JSON.stringify(wrong)}; expected cluster/namespace, cluster/* or *`,
      { field: "allowedNamespaces" },
    );
  }
  return {
    allowedNamespaces: [...new Set(allowedNamespaces)].sort(),
    ...(deviceOwner !== undefined && { deviceOwner }),
  };
}

/** A port that its namespace has claimed already is for that namespace; any other for all. */
const defaultNamespaces = (port: PortRecord | undefined): string[] =>
  port?.cluster !== undefined && port.namespace !== undefined ? [`${port.cluster}/${port.namespace}`] : ["*"];

function changeReservation(
  port: PortRecord,
  request: PortReservation,
  reservation: Reservation,
  scope: DecisionScope,
): ReserveResult {
  const { working, context } = scope;
  const hint = `delete it first (mooringctl delete port ${port.name}) to reserve it again`;
  const network = working.catalog.network(port.networkId);
  if (!working.catalog.match(request.networkSelector).includes(network)) {
    throw new IpamError(
      "conflict",
      `port ${port.name} is on network ${network.name}, which the selector "${request.networkSelector}" does not match; ${hint}`,
      { field: "networkSelector", ports: [port.name] },
    );
  }
  const mismatch = findAddressMismatch(port, request, hint, working);
  if (mismatch) throw mismatch;
  const added = findAddedFamilies(port, request, working);
  const binding = port.binding ?? port.inactive;
  if (added.length > 0 && binding) {
    throw new IpamError(
      "conflict",
      `port ${port.name} is bound on host ${binding.host} without ${added.join(" and ")}; reserve it again when that binding is released`,
      { field: "families", ports: [port.name] },
    );
  }
  const labels = request.labels ?? port.labels;
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const changes = [
    ...(port.reservation ? [] : ["reserved from now on"]),
    ...(sameLabels(labels, port.labels) ? [] : ["labels"]),
    ...(!port.reservation || same(reservation.allowedNamespaces, port.reservation.allowedNamespaces)
      ? []
      : ["allowedNamespaces"]),
    ...(!port.reservation || reservation.deviceOwner === port.reservation.deviceOwner ? [] : ["deviceOwner"]),
    ...added,
  ];
  if (changes.length === 0) return { port: toPort(port, working.catalog), created: false };
  const changed: PortRecord = {
    ...(added.length > 0 ? reallocate(port, request, { mayMove: false }, scope) : port),
    labels,
    reservation,
    retention: { policy: "sticky" },
    unneeded: undefined,
    expiresAt: undefined,
    updatedAt: context.now,
  };
  working.putPort(changed);
  emitPortEvent("port.reserved", changed, scope, { message: changes.join(", ") });
  return { port: toPort(changed, working.catalog), created: false };
}

function sameLabels(a: PortRecord["labels"], b: PortRecord["labels"]): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every(key => a[key] === b[key]);
}
