import type { Datapath, PluggedPort } from "../datapath/attachment.ts";
import { EXTERNAL_IDS } from "../external-ids.ts";
import { CNI_CODES, CniError, describeError } from "../spec/cni-error.ts";
import type { VerbCall } from "./backend.ts";
import { deliverEarlier, disconnect, release } from "./teardown.ts";

/**
 * Removes this network's attachments that the runtime does not list. `mooring-network` on the OVS port decides whose
 * it is; ports of others stay.
 */
export async function gc(call: VerbCall): Promise<string> {
  const { config, backend } = call;
  const valid = config.validAttachments;
  if (valid === undefined) {
    const message = 'network configuration: "cni.dev/valid-attachments" is missing: GC would remove every attachment';
    throw new CniError(CNI_CODES.invalidConfig, message);
  }
  await using held = new AsyncDisposableStack();
  const datapath = held.use(await backend.openDatapath(config));
  const ipam = held.use(await backend.openIpam(config));
  const journal = await backend.openJournal(config);

  const failures: string[] = [];
  for (const port of await listOrphans(datapath, config.name, valid)) {
    const sandbox = { id: port.sandboxId, interface: port.containerInterface };
    try {
      await disconnect(datapath, { ...call, invocation: { ...call.invocation, netns: undefined } }, sandbox);
      await release(ipam, journal, call, { sandbox });
    } catch (error) {
      failures.push(`${sandbox.id}/${sandbox.interface}: ${describeError(error)}`);
    }
  }
  await deliverEarlier(ipam, journal, call);
  if (failures.length > 0) throw new CniError(CNI_CODES.tryAgain, `not collected: ${failures.join("; ")}`);
  return "";
}

async function listOrphans(datapath: Datapath, network: string, valid: ReadonlySet<string>): Promise<PluggedPort[]> {
  const ports = await datapath.list();
  return ports.filter(
    ({ sandboxId, containerInterface, externalIds }) =>
      externalIds[EXTERNAL_IDS.network] === network && !valid.has(`${sandboxId}/${containerInterface}`),
  );
}
