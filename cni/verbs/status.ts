import { CNI_CODES, CniError, describeError } from "../spec/cni-error.ts";
import type { VerbCall } from "./backend.ts";
import { deliverEarlier } from "./teardown.ts";

/** Rejects unless OVS and IPAM can serve an ADD. Without OVS running pods may be disconnected too. */
export async function status(call: VerbCall): Promise<string> {
  const { config, backend } = call;
  await using held = new AsyncDisposableStack();
  const checkOvs = async () => {
    const datapath = held.use(await backend.openDatapath(config));
    await datapath.ready(backend.findBridges(config).map(({ name }) => name));
  };
  const checkIpam = async () => {
    const ipam = held.use(await backend.openIpam(config));
    await ipam.ready();
    await deliverEarlier(ipam, await backend.openJournal(config), call);
  };
  const [ovs, ipam] = await Promise.allSettled([checkOvs(), checkIpam()]);
  const failures = [ovs, ipam].filter(outcome => outcome.status === "rejected").map(outcome => outcome.reason);
  if (failures.length === 0) return "";
  const code = ovs.status === "rejected" ? CNI_CODES.limitedConnectivity : CNI_CODES.notAvailable;
  throw new CniError(code, failures.map(describeError).join("; "), { cause: new AggregateError(failures) });
}
