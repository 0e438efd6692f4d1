import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, beforeEach, describe, it } from "node:test";
import {
  type InstallPlaces,
  type InstallSource,
  installConfiguration,
  installExecutable,
  removeOldVersions,
  uninstall,
} from "../../cni/agent/install/install.ts";

const FACTS = { socket: "/run/x.sock", bridge: "br-int", ovsdb: "unix:/db.sock", journalDir: "/var/lib/x" };
const HOUR = 3_600_000;
const root = mkdtempSync(join(tmpdir(), "mooring-install-"));
after(() => rmSync(root, { recursive: true, force: true }));
let count = 0;
let places: InstallPlaces;

beforeEach(() => {
  const host = join(root, `host${count++}`);
  const [bin, home, conf] = ["bin", "home", "conf"].map(name => join(host, name)) as [string, string, string];
  for (const folder of [bin, home, conf]) mkdirSync(folder, { recursive: true });
  places = { bin, home, conf, hostHome: home };
});

/** A build whose executable says which version it and its addon are. Its runtime only calls this test's own. */
function build(version: string): InstallSource {
  const folder = join(root, `build-${version}`);
  mkdirSync(join(folder, "lib"), { recursive: true });
  mkdirSync(join(folder, "bin"), { recursive: true });
  const addon = 'require("fs").readFileSync(__dirname + "/lib/koffi.node", "utf8")';
  const script = `#!/opt/mooring/bin/node\nconsole.log("${version}", ${addon});\n`;
  writeFileSync(join(folder, "mooring"), script);
  writeFileSync(join(folder, "package.json"), "{}");
  writeFileSync(join(folder, "lib/koffi.node"), version);
  writeFileSync(join(folder, "lib/better-sqlite3.node"), "not of the executable");
  const node = join(folder, "bin/node");
  writeFileSync(node, `#!/bin/sh\nexec ${process.execPath} "$@"\n`);
  return { folder, node };
}

async function call(path = join(places.bin, "mooring")): Promise<string> {
  const child = spawn(path, { stdio: ["ignore", "pipe", "inherit"] });
  const [output] = await Promise.all([text(child.stdout), once(child, "spawn")]);
  return output.trim();
}

const versions = () => readdirSync(join(places.home, "versions")).sort();
const everything = () =>
  Object.fromEntries([places.bin, places.home, places.conf].map(each => [each, readdirSync(each)]));

describe("the installer", () => {
  it("installs an executable that runs by its own runtime and addons", async () => {
    const version = await installExecutable(build("v1"), places);
    assert.equal(await call(), "v1 v1");
    assert.deepEqual(readdirSync(join(places.home, "versions", version)).sort(), [
      "bin",
      "lib",
      "mooring",
      "package.json",
    ]);
    assert.deepEqual(readdirSync(join(places.home, "versions", version, "lib")), ["koffi.node"]);
    assert.equal(readlinkSync(join(places.home, "current")), `versions/${version}`);
    assert.deepEqual(everything()[places.home]?.sort(), ["current", "versions"], "no draft is left");
  });

  it("changes nothing when repeated, and repairs removed links", async () => {
    const version = await installExecutable(build("v1"), places);
    rmSync(join(places.bin, "mooring"));
    assert.equal(await installExecutable(build("v1"), places), version);
    assert.equal(await call(), "v1 v1");
    assert.deepEqual(versions(), [version]);
  });

  it("replaces a file of an earlier layout", async () => {
    writeFileSync(join(places.bin, "mooring"), "an old executable", { mode: 0o755 });
    await installExecutable(build("v1"), places);
    assert.equal(await call(), "v1 v1");
  });

  it("always offers a call one complete version during an upgrade", async () => {
    const [one, two] = [build("v1"), build("v2")];
    await installExecutable(one, places);
    let isOver = false;
    const seen = new Map<string, number>();
    const caller = async () => {
      while (!isOver) {
        const said = await call();
        seen.set(said, (seen.get(said) ?? 0) + 1);
      }
    };
    const callers = [caller(), caller(), caller()];
    for (let round = 0; round < 15; round++) await installExecutable(round % 2 === 0 ? two : one, places);
    while ([...seen.values()].reduce((sum, each) => sum + each, 0) < 30) await call();
    isOver = true;
    await Promise.all(callers);
    assert.deepEqual(
      [...seen.keys()].filter(said => said !== "v1 v1" && said !== "v2 v2"),
      [],
    );
  });

  it("installs once when two installers run concurrently", async () => {
    const source = build("v1");
    const made = await Promise.all([1, 2, 3].map(() => installExecutable(source, places)));
    assert.equal(new Set(made).size, 1);
    assert.deepEqual(versions(), [made[0]]);
    assert.equal(await call(), "v1 v1");
  });

  it("keeps the old version when killed at any step, and the next one finishes", async () => {
    const old = await installExecutable(build("v1"), places);
    // A partial version under a draft's name; then a complete one that nothing links to; then a link's draft.
    mkdirSync(join(places.home, "versions", ".abc.123.mooring-draft", "bin"), { recursive: true });
    assert.equal(await call(), "v1 v1");
    writeFileSync(join(places.home, ".current.123.mooring-draft"), "");
    writeFileSync(join(places.bin, ".mooring.123.mooring-draft"), "");
    const version = await installExecutable(build("v2"), places);
    assert.equal(await call(), "v2 v2");
    await removeOldVersions(places, Date.now());
    assert.ok(existsSync(join(places.home, ".current.123.mooring-draft")), "it may be another installer's at work");
    await removeOldVersions(places, Date.now() + HOUR);
    assert.deepEqual(versions(), [version]);
    assert.deepEqual(everything()[places.home]?.sort(), ["current", "versions"]);
    assert.deepEqual(everything()[places.bin], ["mooring"]);
    assert.notEqual(old, version);
  });

  it("keeps a replaced version for its retirement time, and the current one always", async () => {
    const one = await installExecutable(build("v1"), places);
    const two = await installExecutable(build("v2"), places);
    const now = Date.now();
    await removeOldVersions(places, now);
    await removeOldVersions(places, now + 60_000);
    assert.deepEqual(versions(), [one, two].sort());
    assert.equal(await call(join(places.home, "versions", one, "mooring")), "v1 v1");
    await removeOldVersions(places, now + HOUR);
    await removeOldVersions(places, now + 2 * HOUR);
    assert.deepEqual(versions(), [two]);
    // Back to the first one: it is no longer retired.
    await installExecutable(build("v1"), places);
    await removeOldVersions(places, now + 3 * HOUR);
    await removeOldVersions(places, now + 3 * HOUR + 60_000);
    assert.deepEqual(versions(), [one, two].sort());
  });

  it("names what is missing in a folder that is no build", async () => {
    const source = { folder: join(root, "nothing"), node: "/bin/sh" };
    await assert.rejects(installExecutable(source, places), /nothing\/mooring is not there/);
    assert.deepEqual(everything(), { [places.bin]: [], [places.home]: [], [places.conf]: [] });
  });
});

describe("the network configuration", () => {
  const read = () => JSON.parse(readFileSync(join(places.conf, "10-mooring.conflist"), "utf8"));

  it("names the agent's socket, and portmap only if the host has it", async () => {
    assert.equal(await installConfiguration(places, FACTS), true);
    assert.deepEqual(read(), {
      cniVersion: "1.0.0",
      name: "mooring",
      plugins: [
        {
          type: "mooring",
          agentSocket: "/run/x.sock",
          bridge: "br-int",
          ovsdb: "unix:/db.sock",
          journalDir: "/var/lib/x",
        },
      ],
    });
    assert.equal(await installConfiguration(places, FACTS), false, "nothing to change");
    writeFileSync(join(places.bin, "portmap"), "");
    assert.equal(await installConfiguration(places, FACTS), true);
    assert.deepEqual(
      read().plugins.map((each: { type: string }) => each.type),
      ["mooring", "portmap"],
    );
    assert.deepEqual(readdirSync(places.conf), ["10-mooring.conflist"]);
  });

  it("is complete for readers while it is replaced", async () => {
    await installConfiguration(places, FACTS);
    let isOver = false;
    const reader = (async () => {
      let reads = 0;
      for (; !isOver || reads < 50; reads++) {
        for (const name of readdirSync(places.conf)) assert.match(name, /^10-mooring\.conflist$|^\..*draft$/);
        read();
        await new Promise(resolve => setImmediate(resolve));
      }
    })();
    for (let round = 0; round < 30; round++) await installConfiguration(places, { ...FACTS, bridge: `br${round}` });
    isOver = true;
    await reader;
  });
});

it("leaves the folders and others' files as they were after uninstall", async () => {
  writeFileSync(join(places.bin, "bridge"), "");
  writeFileSync(join(places.conf, "20-other.conflist"), "{}");
  const before = everything();
  await installExecutable(build("v1"), places);
  await installExecutable(build("v2"), places);
  await installConfiguration(places, FACTS);
  writeFileSync(join(places.home, ".current.123.mooring-draft"), "");
  await uninstall(places);
  assert.deepEqual(everything(), before);
  await uninstall(places);
});
