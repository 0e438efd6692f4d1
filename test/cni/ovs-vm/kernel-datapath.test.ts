import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { it } from "node:test";

const beside = join(import.meta.dirname, "../../../../shared/lab/ovs-vm/run.sh");
const lab = process.env.MOORING_OVS_VM ?? beside;
const skip = existsSync(lab) ? false : "no virtual machine lab: set MOORING_OVS_VM to its runner";

it("the datapath's tests pass on the kernel's own Open vSwitch datapath", { skip }, async () => {
  const machine = spawn(join(import.meta.dirname, "run"), [lab], { stdio: ["ignore", "pipe", "inherit"] });
  const [output, [status]] = await Promise.all([text(machine.stdout), once(machine, "exit")]);
  assert.equal(status, 0, output);
  assert.match(output, /^ℹ pass [1-9]/m, output);
  assert.match(output, /^ℹ skipped 0$/m, output);
});
