/** How long a port is kept that its workload no longer needs: until a person deletes it, not at all, or seconds. */
export type RetentionTime = "Retain" | "Delete" | number;

/** As StatefulSets have it for their volume claims. */
export interface WorkloadRetention {
  /** The workload is gone; its name decides, not its UID. */
  whenDeleted?: RetentionTime;
  /** The workload is there, but asks for fewer pods. */
  whenScaled?: RetentionTime;
}

/** The times are those of a sticky port without `ttlSeconds`; absent: the network's, else the server's. */
export interface Retention extends WorkloadRetention {
  policy: "ephemeral" | "sticky";
  /** Sticky only: how long an unbound port is kept. Absent: until its owner is gone or a person deletes it. */
  ttlSeconds?: number;
}
