import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Cluster, ClusterList, Problem, PurgeResponse } from "../../ipam-server/contract/index.ts";
import { Client, claimOf, networkOf } from "./client.ts";
import { ServerProcess } from "./server-process.ts";

const UID = "c1000000-0000-4000-8000-000000000001";

async function start(stack: AsyncDisposableStack) {
  const client = new Client(stack.use(await ServerProcess.start()));
  const register = (name: string, uid: string) =>
    client.send<Cluster & Problem>("PUT", `/v1/clusters/${name}`, { uid });
  const list = async () => (await client.get<ClusterList>("/v1/clusters")).body.clusters;
  const addNetwork = () => client.send("PUT", "/v1/networks/prod", networkOf("prod", "10.100.0.0/22"));
  return { client, register, list, addNetwork };
}

describe("HTTP API of clusters", () => {
  it("a name belongs to the first cluster that registers it", async () => {
    await using stack = new AsyncDisposableStack();
    const { register, list, addNetwork } = await start(stack);
    await addNetwork();
    assert.equal((await register("c1", UID)).status, 200);
    const { status, body } = await register("c1", "another");
    assert.deepEqual([status, body.code, body.field], [409, "conflict", "uid"]);
    assert.deepEqual(
      (await list()).map(({ name, uid }) => [name, uid]),
      [["c1", UID]],
    );
  });

  it("a registration leaves an IPAM without networks empty, ready for an import", async () => {
    await using stack = new AsyncDisposableStack();
    const { register, list, addNetwork } = await start(stack);
    const { status, body } = await register("c1", UID);
    assert.deepEqual([status, body.uid], [200, UID]);
    assert.deepEqual(await list(), []);
    await addNetwork();
    await register("c1", UID);
    assert.equal((await list()).length, 1);
  });

  it("a purge removes all ports of one cluster, page by page", async () => {
    await using stack = new AsyncDisposableStack();
    const { client, addNetwork } = await start(stack);
    await addNetwork();
    const ports = (cluster: string, count: number) =>
      Array.from({ length: count }, (_, i) =>
        claimOf(`${cluster}-${i}`, 1, "node-a", { name: `${cluster}/shop/p-${i}`, cluster }),
      );
    await client.claims(...ports("c1", 600));
    await client.claims(...ports("c2", 3));
    let deleted = 0;
    let pages = 0;
    for (let cursor: string | undefined; pages === 0 || cursor !== undefined; pages++) {
      const body = cursor === undefined ? {} : { cursor };
      const page = await client.send<PurgeResponse>("POST", "/v1/clusters/c1/purge", body);
      assert.equal(page.status, 200);
      deleted += page.body.deleted;
      cursor = page.body.nextCursor;
    }
    assert.deepEqual([deleted, pages > 1], [600, true]);
    const left = await client.get<{ ports: { cluster: string }[] }>("/v1/ports");
    assert.deepEqual(
      left.body.ports.map(({ cluster }) => cluster),
      ["c2", "c2", "c2"],
    );
  });
});
