import assert from "node:assert/strict";
import { cp, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { must, run } from "../../scripts/lab/command.ts";
import { NODE, ROOT } from "../../scripts/lab/paths.ts";

let dir = "";
let away = "";

/** Built in one place, copied to another, and the first removed: only what is in dist/ is left to run on. */
before(async () => {
  dir = await mkdtemp(join(tmpdir(), "mooring-dist-"));
  const built = join(dir, "built");
  await must([NODE, join(ROOT, "scripts/build.ts"), "--out", built]);
  away = join(dir, "away");
  await cp(built, away, { recursive: true });
  await rm(built, { recursive: true });
});
after(() => rm(dir, { recursive: true, force: true }));

describe("dist", () => {
  it("runs the CNI executable from a copy and through a link", async () => {
    const link = join(dir, "mooring");
    await symlink(join(away, "mooring"), link);
    for (const path of [join(away, "mooring"), link]) {
      const { code, stdout } = await run([path], { env: { CNI_COMMAND: "VERSION" } });
      assert.equal(code, 0);
      assert.deepEqual(JSON.parse(stdout).supportedVersions, ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    }
  });

  it("finds the CNI executable's native addons", async () => {
    const conf = {
      cniVersion: "1.1.0",
      name: "moored",
      type: "mooring",
      ipamServer: "http://127.0.0.1:9",
      host: "h",
      cluster: "c",
      ovsdb: `unix:${dir}/none.sock`,
      journalDir: join(dir, "journal"),
    };
    const env = { CNI_COMMAND: "DEL", CNI_CONTAINERID: "mooring-dist-test", CNI_IFNAME: "eth0" };
    const { code, stdout, stderr } = await run([join(away, "mooring")], { env, input: JSON.stringify(conf) });
    assert.equal(code, 0, stdout + stderr);
    assert.match(stderr, /link deleted/);
    assert.equal((await readdir(join(dir, "journal/moored"))).length, 1);
  });

  it("names the Node runtime of the build in the shebang", async () => {
    const [line = ""] = (await readFile(join(away, "mooring"), "utf8")).split("\n");
    assert.match(line, /^#!\/.*node$/);
    const other = join(dir, "other");
    await must([NODE, join(ROOT, "scripts/build.ts"), "--out", other, "--node", "/opt/mooring/node"]);
    for (const name of ["mooring", "mooring-ipam.js", "mooringctl.js"]) {
      assert.match(await readFile(join(other, name), "utf8"), /^#!\/opt\/mooring\/node\n/);
    }
  });

  for (const name of ["mooring-ipam.js", "mooringctl.js"]) {
    it(`runs ${name} from a copy`, async () => {
      assert.match(await must([join(away, name), "--help"]), /^Usage: mooring/);
    });
  }

  it("finds the IPAM server's native addon and creates its database", async () => {
    const database = `sqlite:${join(dir, "ipam.db")}`;
    const socket = `unix:${join(dir, "ipam.sock")}`;
    const script = `"$0" --listen "$1" --database "$2" & server=$!
    for turn in $(seq 200); do [ -S "\${1#unix:}" ] && break; sleep 0.05; done
    kill $server; wait $server`;
    const { code, stderr } = await run(["sh", "-c", script, join(away, "mooring-ipam.js"), socket, database]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /listening on/);
  });
});
