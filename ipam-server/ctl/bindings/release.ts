import type { Command } from "commander";
import { IpamError, type Port } from "../../contract/index.ts";
import type { Context } from "../context.ts";
import { CtlError, EXIT_CODES } from "../ctl-error.ts";
import { type BindingRef, parseBindingRef } from "./binding-ref.ts";

const EXAMPLES = `
Examples:
  $ mooringctl release c1/default/web-0
  $ mooringctl release c1/default/web-0 --fence host=node-a,sandbox=4c1f9a,interface=eth0
  $ mooringctl release vm-7 --fence host=node-a,owner=8e5c01
  $ mooringctl release vm-7 --host node-b

Without --fence the current binding is read first, and only that one is ended; a binding made in between is kept. A port
that is still plugged on its host loses its address: delete the pod instead if you can. A lease belongs to its node
until it expires; --fence host=H,owner=UID ends it earlier. While a machine migrates, the port has an INACTIVE binding on
the target too: --host ends that one, which cancels the migration, and leaves the other.`;

export function addReleaseCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("release")
    .summary("end a port's binding")
    .description("Ends a port's binding if it is still the current one. An ephemeral port is deleted with it.")
    .argument("<name>")
    .option("--fence <fence>", "the binding to end: host=H and sandbox=ID,interface=IF (or owner=UID)", parseBindingRef)
    .option("--host <host>", "the host of the binding to end, ACTIVE or INACTIVE (default: the ACTIVE one)")
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string, { fence, host }: Flags) => {
        if (fence !== undefined && host !== undefined) {
          throw new CtlError("usage", "--fence and --host cannot be given together: --fence names the host");
        }
        const ref = fence ?? toBindingRef(await client.readPort(name), host, io.clock());
        if (ref === undefined) {
          const where = host === undefined ? "" : ` on ${host}`;
          await io.stdout.write(`port/${name} is not bound${where}: nothing to release\n`);
          return undefined;
        }
        const [result] = await client.release([{ name, ...ref }]);
        if (result === undefined) throw new IpamError("internal", "the IPAM answered a release with no result");
        if ("problem" in result) throw IpamError.fromProblem(result.problem);
        if (result.released) {
          const kept = result.deleted ? "and deleted (ephemeral)" : "and kept with its addresses (sticky)";
          await io.stdout.write(`port/${name} released from ${formatRef(ref)}, ${kept}\n`);
          return undefined;
        }
        if (result.reason === "unbound") {
          await io.stdout.write(`port/${name} is not bound: nothing to release\n`);
          return undefined;
        }
        const state =
          result.reason === "stale" ? `not bound to ${formatRef(ref)}` : "not found (already released and deleted?)";
        await io.stderr.write(
          `mooringctl: nothing released: port ${name} is ${state}\n  See its history: mooringctl trace ${name}.\n`,
        );
        return EXIT_CODES.refused;
      }),
    );
}

interface Flags {
  fence?: BindingRef;
  host?: string;
}

function toBindingRef(port: Port, wanted: string | undefined, now: Date): BindingRef | undefined {
  const { name, owner, expiresAt = "" } = port;
  const bindings = [port.binding, port.inactiveBinding].filter(each => each !== undefined);
  const binding = wanted === undefined ? bindings[0] : bindings.find(({ host }) => host === wanted);
  if (binding === undefined) return undefined;
  // The node may have assigned the address to a pod that it has not reported yet.
  if (owner?.kind === "lease" && !(Date.parse(expiresAt) <= now.getTime())) {
    throw new CtlError("refused", `port ${name} is leased to node ${binding.host} until ${expiresAt}`, {
      advice: `The node returns it when it no longer needs it; kubectl cordon ${binding.host} makes it do so now.`,
    });
  }
  const { host, sandbox, ownerUid } = binding;
  return sandbox === undefined ? { host, ownerUid } : { host, sandbox };
}

function formatRef({ host, sandbox, ownerUid }: BindingRef): string {
  if (sandbox === undefined) return `host ${host}, owner ${ownerUid}`;
  return `host ${host}, sandbox ${sandbox.id}, interface ${sandbox.interface}`;
}
