import assert from "node:assert/strict";
import { readlinkSync, symlinkSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { loadLibc } from "../../../cni/datapath/kernel/libc.ts";
import { openNetns } from "../../../cni/datapath/kernel/netns.ts";
import { Pod, skip } from "./node.ts";

const current = () => readlinkSync("/proc/thread-self/ns/net");

describe("a network namespace", { skip }, () => {
  it("is left after the work, whether it returns or throws", async () => {
    using pod = new Pod();
    using namespace = openNetns(await loadLibc(), pod.netns);
    const home = current();
    assert.equal(namespace.run(current), readlinkSync(pod.netns));
    assert.equal(current(), home);
    const failing = () => {
      throw new Error("the work failed");
    };
    assert.throws(() => namespace.run(failing), { message: "the work failed" });
    assert.equal(current(), home);
  });

  it("is found through a symbolic link, and stays when its path is replaced", async () => {
    using pod = new Pod();
    const path = join(tmpdir(), `mooring-netns-${process.pid}`);
    symlinkSync(pod.netns, path);
    using namespace = openNetns(await loadLibc(), path);
    unlinkSync(path);
    assert.equal(namespace.run(current), readlinkSync(pod.netns));
  });

  it("can be entered inside another one, each returning to its caller's", async () => {
    using outer = new Pod();
    using inner = new Pod();
    const libc = await loadLibc();
    using first = openNetns(libc, outer.netns);
    using second = openNetns(libc, inner.netns);
    const seen = first.run(() => [current(), second.run(current), current()]);
    assert.deepEqual(
      seen,
      [outer.netns, inner.netns, outer.netns].map(path => readlinkSync(path)),
    );
  });
});
