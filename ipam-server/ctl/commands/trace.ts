import { isIP } from "node:net";
import type { Command } from "commander";
import type { EventQuery, MooringEvent } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { writeList } from "../output/output.ts";
import { createOutputOption, type OutputFlag } from "../output/output-option.ts";
import type { Column } from "../output/table.ts";

const EXAMPLES = `
Examples:
  $ mooringctl trace c1/default/web-0
  $ mooringctl trace 10.100.1.7
  $ mooringctl trace 0a:58:0a:64:01:07 -o json

Times are UTC. EPOCH counts the port's bindings. Deleted ports are included.`;

const COLUMNS: Column<MooringEvent>[] = [
  { header: "WHEN", cell: event => event.time },
  { header: "WHAT", cell: describeWhat },
  { header: "PORT", cell: event => event.port },
  { header: "WHERE", cell: describeWhere },
  { header: "ADDRESSES", cell: event => event.addresses?.join(",") },
  { header: "EPOCH", cell: event => event.epoch?.toString() },
  { header: "BY", cell: event => event.caller },
  { header: "SEQ", wide: true, cell: event => String(event.seq) },
  { header: "NETWORK", wide: true, cell: event => event.network },
  { header: "MAC", wide: true, cell: event => event.mac },
  { header: "SANDBOX", wide: true, cell: event => event.sandboxId },
  { header: "OWNER", wide: true, cell: event => event.ownerUid },
  { header: "MESSAGE", wide: true, cell: event => event.message },
];

export function addTraceCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("trace")
    .summary("show where a port, an address or a MAC was, and when")
    .description(
      "Shows the history of a port, or of all ports that held an address or a MAC: where it was bound, and when.",
    )
    .argument("<name|ip|mac>")
    .addOption(createOutputOption())
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, subject: string, { output }: OutputFlag) => {
        const query = toQuery(subject);
        let hasEvents = false;
        const pages = async function* () {
          for await (const page of client.pageEvents(query)) {
            hasEvents ||= page.length > 0;
            yield page;
          }
        };
        // Replaces the list's "No events found.", which does not name the subject.
        const quiet = { stdout: io.stdout, stderr: { write: async () => {} } };
        await writeList(quiet, output, { key: "events", columns: COLUMNS, pages: pages() });
        if (!hasEvents)
          await io.stderr.write(
            `No events of ${describeSubject(query)}: it never was in this IPAM, or its events have expired.\n`,
          );
        return undefined;
      }),
    );
}

type TraceQuery = Pick<EventQuery, "port" | "ip" | "mac">;

function toQuery(subject: string): TraceQuery {
  if (isIP(subject)) return { ip: subject };
  if (/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(subject)) return { mac: subject.toLowerCase().replaceAll("-", ":") };
  return { port: subject };
}

function describeSubject({ ip, mac, port }: TraceQuery): string {
  if (ip !== undefined) return `the address ${ip}`;
  return mac === undefined ? `a port named ${port}` : `the MAC ${mac}`;
}

function describeWhat({ type, state }: MooringEvent): string {
  const what = type.replace(/^port\./, "");
  return what === "state" && state !== undefined ? `state ${state}` : what;
}

function describeWhere({ host, fromHost, network }: MooringEvent): string | undefined {
  if (host === undefined) return network === undefined ? undefined : `network ${network}`;
  return fromHost === undefined ? host : `${fromHost} -> ${host}`;
}
