import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runCtl } from "./fake-io.ts";
import { errorReply, FakeServer } from "./fake-server.ts";

const document = (name: string) => `apiVersion: mooring.dev/v1
kind: Network
metadata: { name: ${name}, labels: { env: prod } }
spec:
  segment: { type: vlan, id: 100, physicalNetwork: physnet1 }
`;

describe("mooringctl apply", () => {
  it("puts every document and prints each outcome", async () => {
    const answers = [
      { network: {}, outcome: "created", changes: ["subnet 10.100.0.0/16: added"] },
      { network: {}, outcome: "changed", changes: ["labels", "subnet 10.100.0.0/16: pools"] },
      { network: {}, outcome: "unchanged", changes: [] },
    ];
    await using server = new FakeServer(() => ({ body: answers.shift() }));
    const files = { "a.yaml": `---\n${document("a")}---\n${document("b")}---\n`, "c.yaml": document("c") };
    const run = await runCtl(["apply", "-f", "a.yaml", "-f", "c.yaml"], { server: await server.listen(), files });
    assert.deepEqual(run, {
      exitCode: 0,
      stdout: "network/a created\nnetwork/b changed (labels; subnet 10.100.0.0/16: pools)\nnetwork/c unchanged\n",
      stderr: "",
    });
    assert.deepEqual(
      server.requests.map(({ method, url }) => `${method} ${url}`),
      ["PUT /v1/networks/a", "PUT /v1/networks/b", "PUT /v1/networks/c"],
    );
    assert.deepEqual(server.requests[0]?.body, {
      apiVersion: "mooring.dev/v1",
      kind: "Network",
      metadata: { name: "a", labels: { env: "prod" } },
      spec: { segment: { type: "vlan", id: 100, physicalNetwork: "physnet1" } },
    });
  });

  it("reads standard input for -", async () => {
    await using server = new FakeServer(() => ({ body: { network: {}, outcome: "created", changes: [] } }));
    const run = await runCtl(["apply", "-f", "-"], { server: await server.listen(), stdin: document("a") });
    assert.equal(run.stdout, "network/a created\n");
  });

  it("continues after a rejected document, locates it and exits with 1", async () => {
    await using server = new FakeServer(({ url }) =>
      url.endsWith("/a")
        ? errorReply("conflict", "subnet 10.100.0.0/16 holds addresses", {
            ports: ["c1/default/web-0", "c1/default/web-1"],
          })
        : { body: { network: {}, outcome: "created", changes: [] } },
    );
    const files = { "a.yaml": `${document("a")}---\n${document("b")}` };
    const run = await runCtl(["apply", "-f", "a.yaml"], { server: await server.listen(), files });
    assert.equal(run.exitCode, 1);
    assert.equal(run.stdout, "network/b created\n");
    assert.match(run.stderr, /^mooringctl: a\.yaml: document 1 \(line 1\): network\/a not applied: subnet/);
    assert.match(run.stderr, /conflicting ports: c1\/default\/web-0, c1\/default\/web-1/);
  });

  const broken: [name: string, text: string, message: RegExp][] = [
    [
      "a kind",
      document("b").replace("Network", "Netwrok"),
      /document 2 \(line 8\): kind is "Netwrok"; expected Network/,
    ],
    ["an apiVersion", document("b").replace("v1", "v2"), /document 2 \(line 7\): apiVersion is "mooring\.dev\/v2"/],
    ["a missing kind", document("b").replace(/kind.*\n/, ""), /document 2 \(line 7\): kind is missing/],
    ["a missing name", document("b").replace("name: b, ", ""), /document 2 \(line 9\): metadata\.name is missing/],
    ["a name that is a number", document("7"), /document 2 \(line 9\): metadata\.name is 7; expected a text/],
    ["missing metadata", document("b").replace(/metadata.*\n/, ""), /document 2 \(line 7\): metadata is missing/],
    ["a missing spec", document("b").replace(/spec.*/s, ""), /document 2 \(line 7\): spec is missing/],
    ["an unknown key", `${document("b")}status: {}\n`, /document 2 \(line 12\): unknown key "status"/],
    ["a list", "- a\n", /document 2 \(line 7\): expected a mapping/],
    ["broken YAML", "kind: [\n", /document 2 \(line \d+\) is not YAML/],
    ["a repeated key", `${document("b")}kind: Network\n`, /document 2 \(line 12\) is not YAML: .*unique/],
    [
      "a repeated network",
      document("a"),
      /document 2 \(line 7\) declares network "a" again, after a\.yaml: document 1/,
    ],
  ];

  for (const [what, text, message] of broken) {
    it(`rejects ${what} by document and line before it applies anything`, async () => {
      await using server = new FakeServer(() => ({ status: 500 }));
      const files = { "a.yaml": `${document("a")}---\n${text}` };
      const run = await runCtl(["apply", "-f", "a.yaml"], { server: await server.listen(), files });
      assert.equal(run.exitCode, 2);
      assert.match(run.stderr, message);
      assert.match(run.stderr, /Nothing was applied\./);
      assert.deepEqual(server.requests, []);
    });
  }

  it("rejects a file that is missing or empty", async () => {
    const missing = await runCtl(["apply", "-f", "no.yaml"]);
    assert.equal(missing.exitCode, 2);
    assert.match(missing.stderr, /^mooringctl: cannot read no\.yaml: .*no such file/);
    const empty = await runCtl(["apply", "-f", "e.yaml"], { files: { "e.yaml": "---\n# nothing\n---\n" } });
    assert.equal(empty.exitCode, 2);
    assert.match(empty.stderr, /no document in e\.yaml/);
  });
});
