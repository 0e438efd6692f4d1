import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ERROR_CODES, EVENT_TYPES } from "../../../ipam-server/contract/index.ts";
import { CommitQueue } from "../../../ipam-server/engine/commit-queue.ts";
import { EventTail } from "../../../ipam-server/engine/event-tail.ts";
import { Metrics } from "../../../ipam-server/http/metrics.ts";
import { serviceOperations } from "../../../ipam-server/http/service-operations.ts";
import { batchOperations } from "../../../ipam-server/http/v1/batch-operations.ts";
import { clusterOperations } from "../../../ipam-server/http/v1/cluster-operations.ts";
import { eventOperations } from "../../../ipam-server/http/v1/event-operations.ts";
import { networkOperations } from "../../../ipam-server/http/v1/network-operations.ts";
import { portOperations } from "../../../ipam-server/http/v1/port-operations.ts";
import { recoveryOperations } from "../../../ipam-server/http/v1/recovery-operations.ts";
import { StreamPlaces } from "../../../ipam-server/http/v1/stream-places.ts";
import { transferOperations } from "../../../ipam-server/http/v1/transfer-operations.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";

const page = readFileSync(new URL("../../../docs/api.md", import.meta.url), "utf8");

const table = [
  "| code | HTTP | CNI | retry | title |",
  "|---|---|---|---|---|",
  ...Object.entries(ERROR_CODES).map(
    ([code, { http, cni, retry, title }]) => `| \`${code}\` | ${http} | ${cni} | ${retry ? "yes" : "no"} | ${title} |`,
  ),
].join("\n");

describe("API page", () => {
  it("documents exactly the error codes of the contract", () => {
    assert.ok(page.includes(`\n${table}\n`), `docs/api.md should have:\n${table}`);
  });

  it("documents every type of event", () => {
    for (const type of EVENT_TYPES) assert.match(page, new RegExp(`^\\| .*\`${type}\`.* \\|$`, "m"));
  });

  it("documents every call", () => {
    const store = new MemoryStore();
    const batcher = new CommitQueue(store, { maxQueue: 1 });
    using tail = new EventTail(store);
    const timing = { places: new StreamPlaces(), keepAliveMs: 1, slowReaderMs: 1, signal: AbortSignal.abort() };
    const operations = [
      ...batchOperations(batcher),
      ...networkOperations(store),
      ...portOperations(store, batcher),
      ...clusterOperations(store, batcher),
      ...recoveryOperations(store),
      ...eventOperations(store, tail, timing),
      ...transferOperations(store),
      ...serviceOperations(store, new Metrics(store, () => 0), () => ({})),
    ];
    for (const { method, path } of operations) {
      const call = `${method} ${path.replace("{+", "{")}`;
      assert.ok(page.includes(`\`${call}\``), call);
    }
  });
});
