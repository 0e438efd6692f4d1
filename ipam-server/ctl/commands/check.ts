import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { Port } from "../../contract/index.ts";
import type { Client, Finding } from "../client.ts";
import { compareCluster } from "../compare-cluster.ts";
import type { Context } from "../context.ts";
import { CtlError, EXIT_CODES } from "../ctl-error.ts";
import { writeList } from "../output/output.ts";
import { createOutputOption, type OutputFlag } from "../output/output-option.ts";
import type { Column } from "../output/table.ts";

const EXAMPLES = `
Examples:
  $ mooringctl check
  $ mooringctl check -o json
  $ mooringctl check --kubeconfig ~/.kube/config --cluster prod-1

Exits with 1 when something was found.`;

const COLUMNS: Column<Finding>[] = [
  { header: "WHERE", cell: finding => finding.where },
  { header: "WHAT", cell: finding => finding.what },
];

/** Pods and ports are read one after the other: what differs only because something moved between is gone by then. */
const SECOND_LOOK_MS = 3_000;

type Flags = OutputFlag & { kubeconfig?: string; cluster?: string };

export function addCheckCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("check")
    .summary("have the IPAM compare its books, and compare them with a cluster's pods")
    .description(
      "Has the IPAM compare its held addresses, ports, counters and queues, and lists what does not agree. With " +
        "--kubeconfig and --cluster also compares both ways with the cluster's pods: every binding has its pod, every " +
        "pod its binding, and every lease of addresses its node.",
    )
    .option("--kubeconfig <file>", "the cluster whose pods are compared")
    .option("--cluster <name>", "its name in the IPAM")
    .addOption(createOutputOption(["json", "yaml"]))
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, { output, kubeconfig, cluster }: Flags) => {
        if ((kubeconfig === undefined) !== (cluster === undefined)) {
          throw new CtlError("usage", "--kubeconfig and --cluster go together");
        }
        const books = await client.check();
        const differing = kubeconfig && cluster ? await compareTwice(client, kubeconfig, cluster) : [];
        const findings = [...books, ...differing];
        if (findings.length === 0 && output === undefined) {
          await io.stdout.write("The books agree: held addresses, ports, counters and queues.\n");
          if (cluster) await io.stdout.write(`Every binding of ${cluster} has its pod, and every pod its binding.\n`);
        } else {
          await writeList(io, output, { key: "findings", columns: COLUMNS, pages: [findings] });
        }
        if (findings.length === 0) return undefined;
        const advice = books.length > 0 ? "; please report what the books say, with the database kept as it is" : "";
        await io.stderr.write(`mooringctl: ${findings.length} found${advice}\n`);
        return EXIT_CODES.refused;
      }),
    );
}

/** What two looks have in common. */
async function compareTwice(client: Client, kubeconfig: string, cluster: string): Promise<Finding[]> {
  // Only this command talks to Kubernetes: the others need not wait for its client to load.
  const { fetchCluster } = await import("../cluster-pods.ts");
  const look = async () => {
    const ports: Port[] = [];
    for await (const page of client.pagePorts({})) ports.push(...page);
    const { pods, nodes } = await fetchCluster(kubeconfig);
    return compareCluster(ports, pods, nodes, cluster);
  };
  const first = await look();
  if (first.length === 0) return [];
  await sleep(SECOND_LOOK_MS);
  const seen = new Set(first.map(({ where, what }) => `${where} ${what}`));
  return (await look()).filter(({ where, what }) => seen.has(`${where} ${what}`));
}
