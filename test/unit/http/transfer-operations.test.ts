import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { Call } from "../../../ipam-server/http/operation.ts";
import { transferOperations } from "../../../ipam-server/http/v1/transfer-operations.ts";
import { MemoryStore } from "../../fakes/memory-store.ts";

describe("transfer operations", () => {
  it("names the backup tool of a store without files, and serves only admins", async () => {
    const [backup, exporting, importing] = transferOperations(new MemoryStore());
    const isConflict = (pattern: RegExp) => (error: unknown) => {
      assert.ok(error instanceof IpamError && error.code === "conflict", String(error));
      assert.match(error.message, pattern);
      return true;
    };
    const call = {} as Call;
    await assert.rejects(async () => backup?.handle(call), isConflict(/pg_dump .*pg_basebackup.*mooringctl export/));
    assert.deepEqual(
      [backup, exporting, importing].map(each => each?.action),
      ["copyStore", "copyStore", "fillStore"],
    );
  });
});
