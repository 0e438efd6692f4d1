import { IpamError, LEASE_PREFIX, type PortReservation, type Reservation } from "../../contract/index.ts";
import { validateLabels } from "../model/labels.ts";
import { type PortRecord, toPort } from "../model/port-record.ts";
import type { ReserveResult } from "../store.ts";
import { choosePlacement, type DecisionContext } from "./allocate.ts";
import { createPort } from "./decide-claim.ts";
import { describeHoldingMismatch } from "./mismatch.ts";
import { emitPortEvent } from "./port-event.ts";
import type { WorkingState } from "./working-state.ts";

const NAMESPACE = /^(\*|[A-Za-z0-9._-]+\/(\*|[A-Za-z0-9._-]+))$/;

/** Keeps a name and its addresses for those who may claim it. Declarative: the same again changes nothing. */
export function decideReserve(
  name: string,
  wish: PortReservation,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): ReserveResult {
  const reservation = toReservation(wish);
  if (name.startsWith(LEASE_PREFIX)) {
    throw new IpamError("invalid_request", `name is ${name}, but ${LEASE_PREFIX} begins the names of leases`, {
      field: "name",
    });
  }
  validateLabels(wish.labels ?? {}, "labels");
  const port = working.port(name);
  if (!port) {
    const placement = choosePlacement(wish, { name, key: working.peekPortKey() }, working, context);
    const created = createPort(name, placement, caller, working, context, {
      labels: wish.labels ?? {},
      retention: { policy: "sticky" },
      reservation,
      cluster: undefined,
      namespace: undefined,
      workload: undefined,
    });
    emitPortEvent(working, "port.reserved", created, caller);
    return { port: toPort(created, working.catalog), created: true };
  }
  return change(port, wish, reservation, caller, working, context);
}

function toReservation({ allowedNamespaces = ["*"], deviceOwner }: PortReservation): Reservation {
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

function change(
  port: PortRecord,
  wish: PortReservation,
  reservation: Reservation,
  caller: string,
  working: WorkingState,
  context: DecisionContext,
): ReserveResult {
  const hint = `delete it first (mooringctl delete port ${port.name}) to reserve it anew`;
  const network = working.catalog.network(port.networkId);
  if (!working.catalog.match(wish.networkSelector).includes(network)) {
    throw new IpamError(
      "conflict",
      `port ${port.name} is on network ${network.name}, which the selector "${wish.networkSelector}" does not match; ${hint}`,
      { field: "networkSelector", ports: [port.name] },
    );
  }
  const mismatch = describeHoldingMismatch(port, wish, hint, working);
  if (mismatch) throw mismatch;
  const labels = wish.labels ?? port.labels;
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const changes = [
    ...(port.reservation ? [] : ["reserved from now on"]),
    ...(sameLabels(labels, port.labels) ? [] : ["labels"]),
    ...(!port.reservation || same(reservation.allowedNamespaces, port.reservation.allowedNamespaces)
      ? []
      : ["allowedNamespaces"]),
    ...(!port.reservation || reservation.deviceOwner === port.reservation.deviceOwner ? [] : ["deviceOwner"]),
  ];
  if (changes.length === 0) return { port: toPort(port, working.catalog), created: false };
  const changed: PortRecord = {
    ...port,
    labels,
    reservation,
    retention: { policy: "sticky" },
    expiresAt: undefined,
    updatedAt: context.now,
  };
  working.putPort(changed);
  emitPortEvent(working, "port.reserved", changed, caller, { message: changes.join(", ") });
  return { port: toPort(changed, working.catalog), created: false };
}

function sameLabels(a: PortRecord["labels"], b: PortRecord["labels"]): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every(key => a[key] === b[key]);
}
