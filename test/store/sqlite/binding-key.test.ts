import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { bindingKeysOf, encodeBindingKey } from "../../../ipam-server/storage/sqlite/rows/binding-key.ts";
import { openSqliteStore } from "../../../ipam-server/storage/sqlite/sqlite-store.ts";
import { assertHealthy, attach, claim, commitOne, network, release } from "../support/builders.ts";

/** The first two hosts whose bindings have the same keys. */
function findCollision(): [string, string] {
  const hosts = new Map<number, string>();
  for (let number = 0; ; number++) {
    const host = `node-${number}`;
    const { first } = bindingKeysOf(host);
    const other = hosts.get(first);
    if (other !== undefined) return [other, host];
    hosts.set(first, host);
  }
}

describe("binding key", () => {
  it("distinguishes hosts whose bindings have equal keys", async () => {
    await using store = await openSqliteStore({ path: ":memory:" });
    await store.putNetwork(network("net", 10, [{ cidr: "10.0.0.0/24" }]), "test");
    const [a, b] = findCollision();
    await attach(store, claim("on-a", a, "s"));
    await attach(store, claim("on-b", b, "s"));

    const namesOn = async (host: string) => (await store.readPorts({ host })).ports.map(({ name }) => name);
    assert.deepEqual([await namesOn(a), await namesOn(b)], [["on-a"], ["on-b"]]);

    assert.partialDeepStrictEqual(await commitOne(store, release(b, "s")), { released: true });
    assert.deepEqual([await namesOn(a), await namesOn(b)], [["on-a"], []]);
    assert.partialDeepStrictEqual(await commitOne(store, release(b, "s", { ownerUid: "s" })), { released: false });
    assert.deepEqual([await namesOn(a), await namesOn(b)], [["on-a"], []]);
    await assertHealthy(store);
  });

  it("keeps the keys that databases store", () => {
    assert.deepEqual(bindingKeysOf("node-a"), { first: 215_184_689_856_512, last: 215_184_706_633_727 });
    assert.equal(encodeBindingKey("node-a", "s"), 215184690660724);
  });
});
