import type { Command } from "commander";
import type { Port, PortQuery } from "../../../contract/index.ts";
import type { Context } from "../../context.ts";
import { CtlError } from "../../ctl-error.ts";
import { formatAddresses, formatLabels, formatRetention, formatSince } from "../../output/format.ts";
import { writeItem, writeList } from "../../output/output.ts";
import { createOutputOption, type OutputFlag } from "../../output/output-option.ts";
import type { Column } from "../../output/table.ts";

const EXAMPLES = `
Examples:
  $ mooringctl get ports
  $ mooringctl get ports --host node-a --state bound
  $ mooringctl get ports -l app=web --network prod-a -o json
  $ mooringctl get ports c1/default/web-0 -o yaml

STATE is the underlay's (host) and the overlay's (fabric) state; a port without HOST is not bound. RETENTION lease: an
address that HOST holds for a future pod.`;

function createPortColumns(now: Date): Column<Port>[] {
  return [
    { header: "NAME", cell: port => port.name },
    { header: "NETWORK", cell: port => port.network },
    { header: "ADDRESSES", cell: formatAddresses },
    { header: "MAC", cell: port => port.mac },
    { header: "HOST", cell: port => port.binding?.host },
    { header: "STATE", cell: port => port.state },
    { header: "EPOCH", cell: port => String(port.epoch) },
    { header: "RETENTION", cell: port => (port.owner?.kind === "lease" ? "lease" : formatRetention(port.retention)) },
    { header: "AGE", cell: port => formatSince(port.createdAt, now) },
    { header: "SANDBOX", wide: true, cell: port => port.binding?.sandbox?.id.slice(0, 12) },
    { header: "INTERFACE", wide: true, cell: port => port.binding?.sandbox?.interface },
    { header: "MIGRATES TO", wide: true, cell: port => port.inactiveBinding?.host },
    { header: "OWNER", wide: true, cell: port => port.owner && `${port.owner.kind}/${port.owner.uid}` },
    { header: "LABELS", wide: true, cell: port => formatLabels(port.labels) },
  ];
}

interface Flags extends OutputFlag {
  selector?: string;
  host?: string;
  network?: string;
  state?: string;
}

export function addGetPorts(parent: Command, { io, action }: Context): void {
  parent
    .command("ports")
    .alias("port")
    .description("Lists ports, or shows the one named.")
    .argument("[name]", "only this port")
    .option("-l, --selector <selector>", "only ports whose labels match (Kubernetes syntax)")
    .option("--host <host>", "only ports bound to this host")
    .option("--network <name>", "only ports of this network")
    .option("--state <state>", "bound, unbound, or a pair of plane states such as ACTIVE_ACTIVE")
    .addOption(createOutputOption())
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string | undefined, flags: Flags) => {
        const columns = createPortColumns(io.clock());
        const query = toQuery(flags);
        if (name === undefined) {
          await writeList(io, flags.output, { key: "ports", columns, pages: client.pagePorts(query) });
        } else if (Object.keys(query).length === 0) {
          await writeItem(io, flags.output, columns, await client.readPort(name));
        } else {
          throw new CtlError("usage", "a name and a filter (-l, --host, --network, --state) cannot be given together");
        }
        return undefined;
      }),
    );
}

function toQuery({ selector, host, network, state }: Flags): PortQuery {
  return {
    ...(selector !== undefined && { label: selector }),
    ...(host !== undefined && { host }),
    ...(network !== undefined && { network }),
    ...(state !== undefined && { state }),
  };
}
