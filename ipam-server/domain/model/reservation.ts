import type { Reservation } from "../../contract/index.ts";
import type { PortRecord } from "./port-record.ts";

export const isReserved = (port: PortRecord): boolean => port.reservation !== undefined;

/** True if the reservation allows this namespace: `*`, `cluster/*` or `cluster/namespace`. */
export function mayClaim(
  { allowedNamespaces }: Reservation,
  cluster: string | undefined,
  namespace: string | undefined,
): boolean {
  return allowedNamespaces.some(
    allowed =>
      allowed === "*" ||
      (cluster !== undefined &&
        (allowed === `${cluster}/*` || (namespace !== undefined && allowed === `${cluster}/${namespace}`))),
  );
}
