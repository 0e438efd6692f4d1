import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CommitQueue } from "../../../ipam-server/engine/commit-queue.ts";
import { buildOpenApi } from "../../../ipam-server/http/openapi.ts";
import { batchOperations } from "../../../ipam-server/http/v1/batch-operations.ts";
import { networkOperations } from "../../../ipam-server/http/v1/network-operations.ts";
import { portOperations } from "../../../ipam-server/http/v1/port-operations.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";

type Json = Record<string, unknown>;
const store = new MemoryStore();
const batcher = new CommitQueue(store, { maxQueue: 1 });
const api = buildOpenApi([...batchOperations(batcher), ...networkOperations(store), ...portOperations(store, batcher)]);

function follow(reference: string): unknown {
  const parts = reference.replace(/^#\//, "").split("/");
  return parts.reduce<unknown>((value, part) => (value as Json | undefined)?.[part], api);
}

function references(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(references);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, each]) => (key === "$ref" ? [String(each)] : references(each)));
}

describe("OpenAPI document", () => {
  it("resolves every reference", () => {
    const found = references(api);
    assert.ok(found.length > 10);
    for (const reference of found) assert.notEqual(follow(reference), undefined, reference);
  });

  it("contains the claim schema that validates claims", () => {
    const schema = follow("#/components/schemas/Claim") as { required: string[]; additionalProperties: boolean };
    assert.deepEqual(schema.required, ["host", "owner", "networkSelector"]);
    assert.equal(schema.additionalProperties, false);
  });

  it("gives every operation a unique id and an error response", () => {
    const operations = Object.values(api.paths as Json).flatMap(path => Object.values(path as Json)) as Json[];
    const ids = operations.map(({ operationId }) => operationId);
    assert.equal(new Set(ids).size, ids.length);
    for (const operation of operations) assert.ok("default" in (operation.responses as Json));
  });
});
