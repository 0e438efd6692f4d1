import { z } from "zod";
import { IpamError } from "../../contract/index.ts";
import type { Mutation, OutcomeByKind } from "../../domain/model/mutation.ts";
import type { Store } from "../../domain/store.ts";
import type { CommitQueue } from "../../engine/commit-queue.ts";
import { type Operation, operation } from "../operation.ts";
import { validate } from "../validate.ts";
import { ip, portName } from "./schema/fields.ts";
import * as requests from "./schema/requests.ts";
import * as responses from "./schema/responses.ts";

const ONE = "/v1/ports/{+name}";
const params = { name: portName };

export function portOperations(store: Store, batcher: CommitQueue): Operation[] {
  return [
    operation({
      method: "GET",
      path: "/v1/ports",
      id: "listPorts",
      summary: "Ports by name, network, host, address, MAC, labels or state, in pages",
      action: "read",
      read: "short",
      query: requests.portQuery,
      responses: { 200: { about: "A page of ports", schema: responses.portList } },
      handle: async ({ query }) => ({ status: 200, json: await store.readPorts(query) }),
    }),
    operation({
      method: "GET",
      path: ONE,
      id: "readPort",
      summary: "One port",
      action: "read",
      read: "short",
      params,
      responses: { 200: { about: "The port", schema: responses.port } },
      handle: async ({ params }) => ({ status: 200, json: await store.readPort(params.name ?? "") }),
    }),
    operation({
      method: "PUT",
      path: ONE,
      id: "reservePort",
      summary: "Reserve a port before any claim; with protected alone, protect a port from every deletion",
      action: "reserve",
      params,
      // Validated below, so that a fault is explained by the one schema that the caller means.
      body: z.record(z.string(), z.unknown()),
      documentedBody: z.union([requests.portReservation, requests.portProtection]),
      responses: {
        200: { about: "Changed or unchanged", schema: responses.port },
        201: { about: "Reserved", schema: responses.port },
      },
      async handle({ params, body, caller, timeoutMs }) {
        const name = params.name ?? "";
        const mutation: Extract<Mutation, { kind: "reserve" | "protect" }> =
          "protected" in body
            ? { kind: "protect", name, ...validate(requests.portProtection, body), caller: caller.name }
            : { kind: "reserve", name, reservation: validate(requests.portReservation, body), caller: caller.name };
        const result = await submitOne(batcher, mutation, timeoutMs);
        return { status: result.created ? 201 : 200, json: result.port };
      },
    }),
    operation({
      method: "GET",
      path: "/v1/conflicts",
      id: "listConflicts",
      summary: "Addresses that other machines answer for; the first 1000",
      action: "read",
      read: "short",
      responses: { 200: { about: "The conflicts", schema: responses.conflictList } },
      handle: async () => ({ status: 200, json: { conflicts: await store.readConflicts() } }),
    }),
    operation({
      method: "DELETE",
      path: "/v1/conflicts/{address}",
      id: "clearConflict",
      summary: "Let an address be assigned again, after the reuse delay and a probe",
      action: "deletePort",
      params: { address: ip },
      query: requests.conflictQuery,
      responses: { 204: { about: "Cleared" } },
      async handle({ params, query, caller, timeoutMs }) {
        const mutation = {
          kind: "clearConflict",
          address: params.address ?? "",
          ...query,
          caller: caller.name,
        } as const;
        await submitOne(batcher, mutation, timeoutMs);
        return { status: 204 };
      },
    }),
    operation({
      method: "DELETE",
      path: ONE,
      id: "deletePort",
      summary: "Delete a port and free its addresses; with id or epoch, only if they still match",
      action: "deletePort",
      params,
      query: requests.portPrecondition,
      responses: { 200: { about: "The deleted port", schema: responses.port } },
      async handle({ params, query, caller, timeoutMs }) {
        const name = params.name ?? "";
        const precondition = Object.keys(query).length > 0 && { precondition: query };
        const mutation = { kind: "deletePort", name, ...precondition, caller: caller.name } as const;
        const { deleted } = await submitOne(batcher, mutation, timeoutMs);
        return { status: 200, json: deleted };
      },
    }),
  ];
}

/** Submits the request's only mutation; its failure becomes the request's. */
async function submitOne<M extends Mutation>(
  batcher: CommitQueue,
  mutation: M,
  timeoutMs: number,
): Promise<Exclude<OutcomeByKind[M["kind"]], { problem: unknown }>> {
  const [outcome] = await batcher.submit([mutation], timeoutMs);
  if (outcome === undefined || "problem" in outcome) {
    throw outcome ? IpamError.fromProblem(outcome.problem) : new IpamError("internal", "no outcome");
  }
  return outcome as Exclude<OutcomeByKind[M["kind"]], { problem: unknown }>;
}
