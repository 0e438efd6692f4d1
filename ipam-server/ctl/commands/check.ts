import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { Finding, FullIpamClient } from "../../client/client.ts";
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

Exits with 1 if something was found.`;

const COLUMNS: Column<Finding>[] = [
  { header: "WHERE", cell: finding => finding.where },
  { header: "WHAT", cell: finding => finding.what },
];

/** Pods and ports are read one after the other, so differences are confirmed by a second comparison after this time. */
const RECHECK_MS = 3_000;

type Flags = OutputFlag & { kubeconfig?: string; cluster?: string };

export function addCheckCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("check")
    .summary("check the IPAM's store, and compare it with a cluster's pods")
    .description(
      "Checks that the IPAM's addresses, ports, counters and queues are consistent, and lists what is not. With " +
        "--kubeconfig and --cluster it also compares the store with the cluster: every binding has its pod, every " +
        "pod its binding, and every leased address its node.",
    )
    .option("--kubeconfig <file>", "kubeconfig of the cluster to compare with")
    .option("--cluster <name>", "the cluster's name in the IPAM")
    .addOption(createOutputOption(["json", "yaml"]))
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, { output, kubeconfig, cluster }: Flags) => {
        if ((kubeconfig === undefined) !== (cluster === undefined)) {
          throw new CtlError("usage", "--kubeconfig and --cluster must be given together");
        }
        const storeFindings = await client.check();
        const clusterFindings = kubeconfig && cluster ? await compareTwice(client, kubeconfig, cluster) : [];
        const findings = [...storeFindings, ...clusterFindings];
        if (findings.length === 0 && output === undefined) {
          await io.stdout.write("Store is consistent: addresses, ports, counters, queues.\n");
          if (cluster)
            await io.stdout.write(
              `Cluster ${cluster} is consistent: every binding has its pod, every pod its binding.\n`,
            );
        } else {
          await writeList(io, output, { key: "findings", columns: COLUMNS, pages: [findings] });
        }
        if (findings.length === 0) return undefined;
        const advice =
          storeFindings.length > 0 ? "; keep the database unchanged and report what the store check found" : "";
        await io.stderr.write(`mooringctl: ${findings.length} found${advice}\n`);
        return EXIT_CODES.refused;
      }),
    );
}

/** Returns the findings of two comparisons that are in both. */
async function compareTwice(client: FullIpamClient, kubeconfig: string, cluster: string): Promise<Finding[]> {
  // Loaded here, because no other command uses the Kubernetes client.
  const { fetchCluster } = await import("../cluster-pods.ts");
  const compare = async () => {
    const ports = await client.listPorts({});
    const { pods, nodes } = await fetchCluster(kubeconfig);
    return compareCluster(ports, pods, nodes, cluster);
  };
  const first = await compare();
  if (first.length === 0) return [];
  await sleep(RECHECK_MS);
  const seen = new Set(first.map(({ where, what }) => `${where} ${what}`));
  return (await compare()).filter(({ where, what }) => seen.has(`${where} ${what}`));
}
