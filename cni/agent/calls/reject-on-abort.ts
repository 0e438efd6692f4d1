import { TransportError } from "../../../ipam-server/client/transport-error.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { describeError } from "../../spec/cni-error.ts";

/**
 * Rejects with IpamError `unavailable` once the signal aborts, without ending the work: cancelling one caller does not
 * cancel its batch, so that the outcome of its claim is then unknown.
 */
export async function rejectOnAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => {
    const reason = describeError(signal.reason);
    reject(new IpamError("unavailable", reason, { cause: new TransportError(reason, true, signal.reason) }));
  };
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    work.catch(() => {});
  }
}
