import { z } from "zod";
import type { Store } from "../domain/store.ts";
import type { Metrics } from "./metrics.ts";
import { type Operation, operation } from "./operation.ts";
import * as responses from "./v1/schema/responses.ts";

const POINTER = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Mooring IPAM</title></head>
<body><h1>Mooring IPAM</h1>
<p>Pods drift; their addresses stay moored.</p>
<ul>
<li><a href="/v1/networks">networks</a>, <a href="/v1/ports">ports</a>, <a href="/v1/events">events</a></li>
<li><a href="/openapi.json">OpenAPI</a>, <a href="/metrics">metrics</a>, <a href="/readyz">readiness</a></li>
</ul></body></html>
`;

const status = z.object({ status: z.literal("ok") });
const text = (about: string, contentType: string) => ({ 200: { about, contentType } });

/** The calls for people, probes and Prometheus. */
export function serviceOperations(store: Store, metrics: Metrics, openApi: () => unknown): Operation[] {
  const ok = { status: 200, json: { status: "ok" } };
  return [
    operation({
      method: "GET",
      path: "/v1/check",
      id: "checkStore",
      summary: "Check that counters, addresses, ports and queues are consistent; no finding means a healthy store",
      action: "read",
      read: "long",
      responses: { 200: { about: "The inconsistencies found, if any", schema: responses.checkResponse } },
      handle: async () => ({ status: 200, json: { findings: await store.check() } }),
    }),
    operation({
      method: "GET",
      path: "/healthz",
      id: "healthz",
      summary: "Liveness: the process answers",
      action: "probe",
      responses: { 200: { about: "Alive", schema: status } },
      handle: async () => ok,
    }),
    operation({
      method: "GET",
      path: "/readyz",
      id: "readyz",
      summary: "Readiness: the store accepts writes",
      action: "probe",
      responses: { 200: { about: "Ready", schema: status } },
      handle: async () => {
        await store.ready();
        return ok;
      },
    }),
    operation({
      method: "GET",
      path: "/metrics",
      id: "metrics",
      summary: "Prometheus metrics",
      action: "read",
      responses: text("Prometheus text format", "text/plain"),
      handle: async () => ({ status: 200, ...(await metrics.expose()) }),
    }),
    operation({
      method: "GET",
      path: "/openapi.json",
      id: "openapi",
      summary: "This document",
      action: "probe",
      responses: { 200: { about: "OpenAPI 3.1", schema: z.looseObject({}) } },
      handle: async () => ({ status: 200, json: openApi() }),
    }),
    operation({
      method: "GET",
      path: "/",
      id: "root",
      summary: "A page of links to the API",
      action: "probe",
      responses: text("A page of links", "text/html"),
      handle: async () => ({ status: 200, contentType: "text/html; charset=utf-8", text: POINTER }),
    }),
  ];
}
