/** Roles and actions of callers. How a caller is identified is up to `auth`. */
export const ROLES = ["node", "controller", "provisioner", "reader", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** The caller that events of the server's own work name. */
export const SERVER_CALLER = "mooring-ipam";

export interface Caller {
  /** Written into every event that the call causes. */
  name: string;
  roles: readonly Role[];
}

export type Action =
  | "claim"
  | "activate"
  | "release"
  | "report"
  | "reserve"
  | "deletePort"
  | "writeNetworks"
  | "registerCluster"
  | "manageClusters"
  | "copyStore"
  | "fillStore"
  | "read"
  | "probe";
