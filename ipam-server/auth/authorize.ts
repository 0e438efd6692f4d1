import { IpamError } from "../contract/index.ts";
import type { Action, Caller, Role } from "../domain/model/caller.ts";

/** `probe` is for health checks and needs no role; `admin` may do everything. */
const ALLOWED: Record<Exclude<Action, "probe">, readonly Role[]> = {
  claim: ["node", "provisioner"],
  activate: ["node", "controller", "provisioner"],
  release: ["node", "controller", "provisioner"],
  report: ["node", "controller"],
  reserve: ["provisioner"],
  deletePort: ["controller", "provisioner"],
  writeNetworks: [],
  registerCluster: ["node", "controller"],
  manageClusters: [],
  copyStore: [],
  fillStore: [],
  read: ["node", "controller", "provisioner", "reader"],
};

/** Throws IpamError `forbidden` when none of the caller's roles allows the action. */
export function authorize(caller: Caller, action: Action): void {
  if (action === "probe" || caller.roles.includes("admin")) return;
  const allowed = ALLOWED[action];
  if (caller.roles.some(role => allowed.includes(role))) return;
  const needed = [...allowed, "admin"].join(", ");
  throw new IpamError("forbidden", `${caller.name} may not ${action}: it takes one of the roles ${needed}`);
}
