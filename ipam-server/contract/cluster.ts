import type { Timestamp } from "./values.ts";

/**
 * A Kubernetes cluster, known by the UID of its namespace `kube-system`. A name belongs to the first cluster that registers
 * it, so that no other cluster's controller or agent acts on its ports.
 */
export interface Cluster {
  name: string;
  uid: string;
  registeredAt: Timestamp;
  heldPass?: HeldPass;
}

/** A pass of the cluster's controller that would end more than one pass may: it waits until a person confirms it. */
export interface HeldPass {
  /** Derived from what the pass would end. */
  id: string;
  /** Bindings it would release. */
  releases: number;
  /** Kept ports it would delete. */
  deletions: number;
  /** Ports of the cluster. */
  ports: number;
  heldAt: Timestamp;
  /** Until when the controller may run this pass; absent: a person has not confirmed it, or too long ago. */
  confirmedUntil?: Timestamp;
}

/** `PUT /v1/clusters/{name}`: idempotent. Another UID than the registered one is `conflict`. */
export interface ClusterRegistration {
  uid: string;
  /** null: no pass is held any longer. Absent: unchanged. */
  heldPass?: Pick<HeldPass, "id" | "releases" | "deletions" | "ports"> | null;
}

/** `POST /v1/clusters/{name}/confirmations`: lets the held pass with this id run. */
export interface PassConfirmation {
  pass: string;
}

export interface ClusterList {
  clusters: Cluster[];
}

/** `POST /v1/clusters/{name}/purge` removes a number of ports at a time: repeat it with the cursor until there is none. */
export interface PurgeRequest {
  cursor?: string;
}

export interface PurgeResponse {
  /** Ports deleted, bound ones included. */
  deleted: number;
  /** Reserved ports, which are only unbound. */
  unbound: number;
  /** Ports left as they are. */
  kept: number;
  nextCursor?: string;
}
