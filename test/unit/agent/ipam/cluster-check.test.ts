import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createAgentIpam } from "../../../../cni/agent/ipam/agent-ipam.ts";
import { FakeIpam, problem } from "../../../fakes/ipam-server.ts";

const CLAIM = {
  name: "c1/shop/web-0",
  host: "n",
  owner: { kind: "pod", uid: "u", createdAt: "2026-11-20T08:00:00.000Z" },
  networkSelector: "",
} as const;
const REGISTERED = { status: 200, body: { name: "c1", uid: "uid-1", registeredAt: "2026-11-20T08:00:00.000Z" } };
const LISTED = { status: 200, body: { ports: [] } };

async function setUp(stack: AsyncDisposableStack, readUid = async () => "uid-1") {
  const fake = stack.use(await FakeIpam.start());
  const cluster = { name: "c1", readUid };
  const ipam = stack.use(createAgentIpam({ url: fake.url, timeoutMs: 1000, cluster }));
  const paths = () => fake.requests.map(({ path }) => path.replace(/\?.*/, ""));
  return { fake, ipam, paths };
}

describe("the agent and its cluster's name", () => {
  it("registers the cluster once, before the node's bindings are read", async () => {
    await using stack = new AsyncDisposableStack();
    const { fake, ipam, paths } = await setUp(stack);
    fake.instead.push(REGISTERED, LISTED, LISTED);
    await ipam.readPortsOfHost("n");
    await ipam.readPortsOfHost("n");
    assert.deepEqual(paths(), ["/v1/clusters/c1", "/v1/ports", "/v1/ports"]);
  });

  it("claims and compares nothing while the name belongs to another cluster", async () => {
    await using stack = new AsyncDisposableStack();
    const { fake, ipam, paths } = await setUp(stack);
    fake.instead.push(problem("conflict", "the name c1 belongs to another"));
    const refused = { code: "unavailable", message: /belongs to another/ };
    await assert.rejects(ipam.claim(CLAIM), refused);
    await assert.rejects(ipam.readPortsOfHost("n"), refused);
    assert.match(ipam.clusterRefusal ?? "", /belongs to another/);
    assert.deepEqual(paths(), ["/v1/clusters/c1"]);
  });

  it("goes ahead without a proof: an older server, an API that does not answer", async () => {
    await using stack = new AsyncDisposableStack();
    const { fake, ipam } = await setUp(stack);
    fake.instead.push(problem("not_found", "no such call"), LISTED);
    assert.deepEqual(await ipam.readPortsOfHost("n"), []);
    const unread = await setUp(stack, async () => Promise.reject(new Error("no answer")));
    unread.fake.instead.push(LISTED);
    assert.deepEqual(await unread.ipam.readPortsOfHost("n"), []);
    assert.deepEqual(unread.paths(), ["/v1/ports"]);
  });
});
