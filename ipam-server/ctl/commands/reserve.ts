import { type Command, InvalidArgumentError, Option } from "commander";
import type { IpFamily, Labels } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { formatAddresses } from "../output/format.ts";

const EXAMPLES = `
Examples:
  $ mooringctl reserve db-primary --network-selector env=prod --allow c1/databases c2/databases
  $ mooringctl reserve rack7-host3 --network-selector env=prod --ip 10.100.1.7 --mac 3c:ec:ef:00:12:34 \\
      --device-owner baremetal:node
  $ mooringctl reserve mail --network-selector env=prod --ip 10.100.1.8 --ip fd00:100::8 --label app=mail`;

interface Flags {
  networkSelector: string;
  ip?: string[];
  mac?: string;
  family?: IpFamily[];
  deviceOwner?: string;
  allow?: string[];
  label?: Labels;
}

export function addReserveCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("reserve")
    .summary("reserve a port for a future pod, VM or machine")
    .description("Reserves a port under a chosen name, with its addresses and MAC, before any claim.")
    .argument("<name>")
    .requiredOption("--network-selector <selector>", "selects the network by its labels (Kubernetes syntax)")
    .option("--ip <address...>", "requested addresses, at most one per family")
    .option("--mac <mac>", "requested MAC, aa:bb:cc:dd:ee:ff")
    .addOption(
      new Option("--family <family...>", "only these address families (default: all of the network)").choices([
        "ipv4",
        "ipv6",
      ]),
    )
    .option("--device-owner <text>", "the use of the port, such as baremetal:node or compute:vm")
    .option(
      "--allow <cluster/namespace...>",
      "namespaces that may claim it: c1/default, c1/* or * (default: as before, * for a new port)",
    )
    .option("--label <key=value>", "a label of the port; may be repeated", parseLabel)
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string, flags: Flags) => {
        const { port, created } = await client.reservePort(name, {
          networkSelector: flags.networkSelector,
          ...(flags.ip && { ips: flags.ip }),
          ...(flags.mac !== undefined && { mac: flags.mac }),
          ...(flags.family && { families: flags.family }),
          ...(flags.deviceOwner !== undefined && { deviceOwner: flags.deviceOwner }),
          ...(flags.allow && { allowedNamespaces: flags.allow }),
          ...(flags.label && { labels: flags.label }),
        });
        const facts = `${formatAddresses(port)}, MAC ${port.mac}, network ${port.network}`;
        await io.stdout.write(`port/${port.name} ${created ? "reserved" : "updated"} (${facts})\n`);
        return undefined;
      }),
    );
}

function parseLabel(text: string, labels: Labels = {}): Labels {
  const at = text.indexOf("=");
  if (at < 1) throw new InvalidArgumentError("Expected key=value.");
  return { ...labels, [text.slice(0, at)]: text.slice(at + 1) };
}
