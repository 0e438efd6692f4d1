import { run } from "../../../scripts/lab/command.ts";
import { SYSTEM } from "../support/ipam.ts";

const LOOKS = [
  ["get", "nodes,pods", "-A", "-o", "wide"],
  ["get", "events", "-A", "--sort-by=.lastTimestamp"],
  ["-n", SYSTEM, "logs", "-l", "app.kubernetes.io/name=mooring-agent", "--tail=60", "--prefix"],
  ["-n", SYSTEM, "logs", "-l", "app.kubernetes.io/name=mooring-controller", "--tail=20", "--prefix"],
  ["-n", SYSTEM, "logs", "-l", "app.kubernetes.io/name=mooring-ipam", "--tail=20", "--prefix"],
];
const LINES = 80;

/** What a person would look at first after a failure. */
export async function printState(): Promise<void> {
  for (const look of LOOKS) {
    const { stdout, stderr } = await run(["kubectl", ...look]);
    console.log(`$ kubectl ${look.join(" ")}\n${(stdout + stderr).split("\n").slice(-LINES).join("\n")}`);
  }
}
