/** Who may do what, as the rest of the server sees it; `auth` knows how callers prove who they are. */
export const ROLES = ["node", "controller", "provisioner", "reader", "admin"] as const;
export type Role = (typeof ROLES)[number];

export interface Caller {
  /** Written into every event that the call causes. */
  name: string;
  roles: readonly Role[];
}

export type Action =
  | "claim"
  | "release"
  | "report"
  | "reserve"
  | "deletePort"
  | "writeNetworks"
  | "copyStore"
  | "fillStore"
  | "read"
  | "probe";
