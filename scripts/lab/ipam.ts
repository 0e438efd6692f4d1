import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type CommandResult, waitFor } from "./command.ts";
import { DIST, NODE } from "./paths.ts";
import { IPAM_ADDRESS, type Topology } from "./topology.ts";

const PORT = 7070;
/** Address and port as /proc/net/tcp shows them on a little-endian machine. */
const LISTENER = `${IPAM_ADDRESS.split(".").reverse().map(hex).join("")}:1B9E`;

/** The lab's IPAM server, in its `mgmt` namespace with its database in the lab's directory. */
export interface Ipam {
  readonly url: string;
  /** What was run. */
  readonly argv: readonly string[];
  start(): Promise<void>;
  /** SIGKILL: no connection is closed in order. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Runs mooringctl against this server in its netns. */
  ctl(args: readonly string[], input?: string): Promise<CommandResult>;
  /** Runs mooringctl, which must succeed; with `-o json` the caller parses. */
  mustCtl(...args: string[]): Promise<string>;
}

export async function startIpam(topology: Topology, options: { reuseDelay?: string } = {}): Promise<Ipam> {
  const url = `http://${IPAM_ADDRESS}:${PORT}`;
  const database = `sqlite:${join(topology.dir, "ipam.db")}`;
  const argv = [
    NODE,
    `${DIST}mooring-ipam.js`,
    "--listen",
    `${IPAM_ADDRESS}:${PORT}`,
    "--insecure",
    "--database",
    database,
  ];
  argv.push("--reuse-delay", options.reuseDelay ?? "60s");
  let child: ChildProcess | undefined;

  const ipam: Ipam = {
    url,
    argv,
    async start() {
      const started = topology.mgmt.start(argv);
      child = started;
      await waitFor("the IPAM server to listen", () => {
        if (started.exitCode !== null) throw new Error(`the IPAM server ended: ${readLog(topology)}`);
        return isListening(started.pid);
      });
    },
    async stop(signal) {
      if (child) await topology.mgmt.stop(child, signal);
      child = undefined;
    },
    ctl: (args, input) => {
      const command = [NODE, `${DIST}mooringctl.js`, "--server", url, ...args];
      return topology.mgmt.run(command, input === undefined ? {} : { input });
    },
    async mustCtl(...args) {
      const { code, stdout, stderr } = await ipam.ctl(args);
      if (code !== 0) throw new Error(`mooringctl ${args.join(" ")} ended with ${code}: ${stderr.trim()}`);
      return stdout;
    },
  };
  await ipam.start();
  return ipam;
}

/** Reads the process's netns from outside, which starts no process. */
function isListening(pid: number | undefined): boolean {
  return readFileSync(`/proc/${pid}/net/tcp`, "utf8").includes(` ${LISTENER} 00000000:0000 0A `);
}

function readLog(topology: Topology): string {
  return readFileSync(topology.mgmt.logPath, "utf8").trim();
}

function hex(byte: string): string {
  return Number(byte).toString(16).toUpperCase().padStart(2, "0");
}
