import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";

const { MOORING_LAB: lab } = process.env;
const hasLab = lab !== undefined && existsSync(join(lab, "ovs-vm/run.sh"));
const skip = hasLab ? false : "no virtual machine lab: set MOORING_LAB to the directory that has ovs-vm/run.sh";

describe("datapath on the kernel's Open vSwitch", () => {
  it("passes the datapath's tests", { skip }, async () => {
    const machine = spawn(join(import.meta.dirname, "run"), { stdio: ["ignore", "pipe", "inherit"] });
    const [output, [status]] = await Promise.all([text(machine.stdout), once(machine, "exit")]);
    assert.equal(status, 0, output);
    assert.match(output, /^ℹ pass [1-9]/m, output);
    assert.match(output, /^ℹ skipped 0$/m, output);
  });
});
