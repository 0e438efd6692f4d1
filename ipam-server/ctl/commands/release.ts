import type { Command } from "commander";
import type { Port, Release } from "../../contract/index.ts";
import { type BindingRef, parseFence } from "../binding-ref.ts";
import type { Context } from "../context.ts";
import { CtlError, EXIT_CODES } from "../ctl-error.ts";

const EXAMPLES = `
Examples:
  $ mooringctl release c1/default/web-0
  $ mooringctl release c1/default/web-0 --fence host=node-a,sandbox=4c1f9a,interface=eth0
  $ mooringctl release vm-7 --fence host=node-a,owner=8e5c01

Without --fence the binding that is there now is read first, and only that one is ended. A binding made in between is
left alone. A port still plugged on its host loses its address: end the pod rather than its binding when you can.
A lease is its node's until it ends; --fence host=H,owner=UID ends it before.`;

export function addReleaseCommand(parent: Command, { io, action }: Context): void {
  parent
    .command("release")
    .summary("end a port's binding")
    .description("Ends a port's binding, if it still is the one that was seen. Ephemeral ports are deleted with it.")
    .argument("<name>")
    .option("--fence <fence>", "the binding to end: host=H and sandbox=ID,interface=IF (or owner=UID)", parseFence)
    .addHelpText("after", EXAMPLES)
    .action(
      action(async (client, name: string, { fence: given }: { fence?: BindingRef }) => {
        const fence = given ?? toFence(await client.readPort(name), io.clock());
        if (fence === undefined) {
          await io.stdout.write(`port/${name} is not bound: nothing to release\n`);
          return undefined;
        }
        const result = await client.release({ name, ...fence });
        if (result.released) {
          const kept = result.deleted ? "and deleted (ephemeral)" : "and kept with its addresses (sticky)";
          await io.stdout.write(`port/${name} released from ${describeFence(fence)}, ${kept}\n`);
          return undefined;
        }
        if (result.reason === "unbound") {
          await io.stdout.write(`port/${name} is not bound: nothing to release\n`);
          return undefined;
        }
        const why =
          result.reason === "stale"
            ? `not bound to ${describeFence(fence)}`
            : "not there (released and deleted before?)";
        await io.stderr.write(
          `mooringctl: nothing released: port ${name} is ${why}\n  See what is: mooringctl trace ${name}.\n`,
        );
        return EXIT_CODES.refused;
      }),
    );
}

function toFence({ name, owner, binding, expiresAt = "" }: Port, now: Date): BindingRef | undefined {
  if (binding === undefined) return undefined;
  // The node may have given the address to a pod of which the IPAM has yet to hear.
  if (owner?.kind === "lease" && !(Date.parse(expiresAt) <= now.getTime())) {
    throw new CtlError("refused", `port ${name} is leased to node ${binding.host} until ${expiresAt}`, {
      advice: `The node gives it back when it needs it no more; kubectl cordon ${binding.host} has it do so now.`,
    });
  }
  const { host, sandbox, ownerUid } = binding;
  return sandbox === undefined ? { host, ownerUid } : { host, sandbox };
}

function describeFence({ host, sandbox, ownerUid }: Omit<Release, "name">): string {
  if (sandbox === undefined) return `host ${host}, owner ${ownerUid}`;
  return `host ${host}, sandbox ${sandbox.id}, interface ${sandbox.interface}`;
}
