import { z } from "zod";
import type { Operation } from "./operation.ts";
import { problem } from "./v1/schema/responses.ts";

type Json = Record<string, unknown>;

/** Builds the OpenAPI 3.1 document from the operations and the schemas that validate requests. */
export function buildOpenApi(operations: readonly Operation[]): Json {
  const schemas: Json = {};
  const document = hoist(buildDocument(operations), schemas) as Json;
  return { ...document, components: { ...(document.components as Json), schemas } };
}

/** Moves zod's local definitions to `components.schemas`, and adjusts the references. */
function hoist(value: unknown, schemas: Json): unknown {
  if (Array.isArray(value)) return value.map(each => hoist(each, schemas));
  if (typeof value !== "object" || value === null) return value;
  const { $defs = {}, ...rest } = value as Json & { $defs?: Json };
  for (const [name, schema] of Object.entries($defs)) schemas[name] = hoist(schema, schemas);
  const moved = Object.entries(rest).map(([key, each]) => [key, hoist(each, schemas)] as const);
  return Object.fromEntries(
    moved.map(([key, each]) => [
      key,
      key === "$ref" ? String(each).replace("#/$defs/", "#/components/schemas/") : each,
    ]),
  );
}

function buildDocument(operations: readonly Operation[]): Json {
  const paths: Record<string, Json> = {};
  for (const operation of operations) {
    const path = operation.path.replace("{+", "{");
    paths[path] = { ...paths[path], [operation.method.toLowerCase()]: buildOperation(operation) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Mooring IPAM",
      version: "v1",
      description:
        "The global IPAM of Mooring. Batches first: results come in request order, each with its own outcome.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
    components: {
      responses: {
        Problem: {
          description: "RFC 9457 problem document with a closed code",
          content: { "application/problem+json": { schema: schemaOf(problem, "output") } },
        },
      },
    },
  };
}

function buildOperation(operation: Operation): Json {
  const { id, summary, query, params = {}, body, documentedBody, responses } = operation;
  const parameters = [
    ...Object.entries(params).map(([name, schema]) => ({
      name,
      in: "path",
      required: true,
      schema: schemaOf(schema, "input"),
      ...(operation.path.includes(`{+${name}}`) && { description: "Slashes may be written as they are or as %2F." }),
    })),
    ...Object.entries(query?.shape ?? {}).map(([name, schema]) => ({
      name,
      in: "query",
      required: false,
      schema: schemaOf(schema as z.ZodType, "input"),
    })),
    ...(operation.method === "GET" ? [] : [DEADLINE]),
  ];
  const sent = documentedBody ?? body;
  return {
    operationId: id,
    summary,
    ...(parameters.length > 0 && { parameters }),
    ...(sent && {
      requestBody: { required: true, content: { "application/json": { schema: schemaOf(sent, "input") } } },
    }),
    responses: {
      ...Object.fromEntries(Object.entries(responses).map(([status, response]) => [status, buildResponse(response)])),
      default: { $ref: "#/components/responses/Problem" },
    },
  };
}

function buildResponse({ about, schema, contentType = "application/json" }: Operation["responses"][number]): Json {
  const described = schema ? schemaOf(schema, "output") : { type: "string" };
  return {
    description: about,
    ...((schema || contentType !== "application/json") && { content: { [contentType]: { schema: described } } }),
  };
}

const DEADLINE = {
  name: "Mooring-Deadline-Ms",
  in: "header",
  required: false,
  description: "Milliseconds the caller will still wait; work past it is dropped before it is decided.",
  schema: { type: "integer", minimum: 1 },
};

/** Schemas with an id become local definitions. OpenAPI 3.1 uses JSON Schema 2020-12 unchanged. */
function schemaOf(schema: z.ZodType, io: "input" | "output"): Json {
  const { $schema: _, "~standard": __, ...json } = z.toJSONSchema(schema, { io, unrepresentable: "any" }) as Json;
  return json;
}
