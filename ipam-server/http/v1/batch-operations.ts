import { z } from "zod";
import { IpamError, type Problem } from "../../contract/index.ts";
import type { Action, Caller } from "../../domain/model/caller.ts";
import type { Mutation, Outcome } from "../../domain/model/mutation.ts";
import type { CommitQueue } from "../../engine/commit-queue.ts";
import { type Operation, operation } from "../operation.ts";
import { validate } from "../validate.ts";
import * as requests from "./schema/requests.ts";
import * as responses from "./schema/responses.ts";

const MAX_ITEMS = 1000;

/** Claims, activations, releases and reports: the hot path of the server. */
export function batchOperations(batcher: CommitQueue): Operation[] {
  return [
    batchOperation({
      batcher,
      key: "claims",
      action: "claim",
      id: "claimPorts",
      summary: "Bind ports: creates, finds or moves them",
      item: requests.claim,
      result: responses.claimResult,
      toMutation: (claim, caller) => ({ kind: "claim", claim, caller: caller.name }),
    }),
    batchOperation({
      batcher,
      key: "activations",
      action: "activate",
      id: "activateBindings",
      summary: "Make INACTIVE bindings, of migrations' targets, the ACTIVE ones",
      item: requests.activation,
      result: responses.activationResult,
      toMutation: (activation, caller) => ({ kind: "activate", activation, caller: caller.name }),
    }),
    batchOperation({
      batcher,
      key: "releases",
      action: "release",
      id: "releasePorts",
      summary: "End bindings that are still the caller's",
      item: requests.release,
      result: responses.releaseResult,
      toMutation: (release, caller) => ({ kind: "release", release, caller: caller.name }),
    }),
    batchOperation({
      batcher,
      key: "reports",
      action: "report",
      id: "reportPlanes",
      summary: "Report plane states, fenced by epoch",
      item: requests.report,
      result: responses.reportResult,
      toMutation: (report, caller) => ({ kind: "report", report, caller: caller.name }),
    }),
    batchOperation({
      batcher,
      key: "needs",
      action: "deletePort",
      id: "reportWorkloads",
      summary: "Report whether workloads need their unbound ports, which are then kept for their retention's time",
      item: requests.workloadReport,
      result: responses.workloadReportResult,
      toMutation: (report, caller) => ({ kind: "workloadReport", report, caller: caller.name }),
    }),
  ];
}

interface Batch<I extends z.ZodType> {
  batcher: CommitQueue;
  key: "claims" | "activations" | "releases" | "reports" | "needs";
  action: Action;
  id: string;
  summary: string;
  item: I;
  result: z.ZodType;
  toMutation(item: z.output<I>, caller: Caller): Mutation;
}

function batchOperation<I extends z.ZodType>(batch: Batch<I>): Operation {
  const { batcher, key, item, toMutation } = batch;
  return operation({
    method: "POST",
    path: `/v1/${key}`,
    id: batch.id,
    summary: batch.summary,
    action: batch.action,
    // Items are validated one by one, so that an invalid one fails alone.
    body: z.strictObject({ [key]: z.array(z.unknown()).max(MAX_ITEMS) }),
    documentedBody: z.strictObject({ [key]: z.array(item).max(MAX_ITEMS) }),
    responses: {
      200: { about: "One result per item, in order", schema: z.object({ results: z.array(batch.result) }) },
    },
    async handle({ body, caller, timeoutMs }) {
      const items = body[key] as unknown[];
      const results: unknown[] = new Array(items.length);
      const mutations: Mutation[] = [];
      const indexes: number[] = [];
      for (const [i, each] of items.entries()) {
        try {
          mutations.push(toMutation(validate(item, each, `${key}[${i}]`), caller));
          indexes.push(i);
        } catch (error) {
          results[i] = { problem: IpamError.from(error).toProblem() };
        }
      }
      const outcomes = await batcher.submit(mutations, timeoutMs);
      for (const [i, outcome] of outcomes.entries()) {
        const index = indexes[i] ?? 0;
        results[index] = withItemPath(outcome, `${key}[${index}]`);
      }
      return { status: 200, json: { results } };
    },
  });
}

/** Prefixes the problem's field, which the store names within the item, with the item's path in the request. */
function withItemPath(outcome: Outcome, root: string): Outcome | { problem: Problem } {
  if (!("problem" in outcome) || outcome.problem.field === undefined) return outcome;
  return { problem: { ...outcome.problem, field: `${root}.${outcome.problem.field}` } };
}
