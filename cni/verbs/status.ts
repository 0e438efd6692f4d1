import { CNI_CODES, CniError, describeError } from "../spec/cni-error.ts";
import type { VerbCall } from "./backend.ts";
import { deliverEarlier } from "./teardown.ts";

/** Whether an ADD would find its OVS and its IPAM. Without OVS even pods that are there may be cut off. */
export async function status(call: VerbCall): Promise<string> {
  const { config, backend } = call;
  await using held = new AsyncDisposableStack();
  const askOvs = async () => {
    const datapath = held.use(await backend.openDatapath(config));
    await datapath.ready(config.bridge);
  };
  const askIpam = async () => {
    const ipam = held.use(await backend.openIpam(config));
    await ipam.ready();
    await deliverEarlier(ipam, await backend.openJournal(config), call);
  };
  const [ovs, ipam] = await Promise.allSettled([askOvs(), askIpam()]);
  const failures = [ovs, ipam].filter(outcome => outcome.status === "rejected").map(outcome => outcome.reason);
  if (failures.length === 0) return "";
  const code = ovs.status === "rejected" ? CNI_CODES.limitedConnectivity : CNI_CODES.notAvailable;
  throw new CniError(code, failures.map(describeError).join("; "), { cause: new AggregateError(failures) });
}
