import type { Timestamp } from "./values.ts";

/** An address that another machine answers for: not assigned until a person clears it. */
export interface Conflict {
  address: string;
  network: string;
  /** The subnet's CIDR. */
  subnet: string;
  /** Of the machine that answered. */
  mac: string;
  /** The host that probed. */
  host: string;
  /** The port that was to have the address. */
  port: string;
  foundAt: Timestamp;
}

export interface ConflictList {
  conflicts: Conflict[];
}

/** `DELETE /v1/conflicts/{address}` query: which network, where VPCs overlap. */
export interface ConflictQuery {
  network?: string;
}
