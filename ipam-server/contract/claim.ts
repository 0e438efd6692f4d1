import type { Migration, Owner, Plane, PlaneState, PortAttachment, Sandbox, SlotOf, Workload } from "./port.ts";
import type { Problem } from "./problem.ts";
import type { Retention } from "./retention.ts";
import type { IpFamily, Labels, Timestamp } from "./values.ts";

/** Where a port's name comes from decides who wins when two owners want it. */
export type NameFrom =
  /** From the pod itself: Kubernetes lets one owner live at a time, so the newer owner wins. */
  | "pod"
  /** From the pod's labels: another owner gets `port_in_use` while the port is bound. */
  | "labels"
  /** Chosen by people: must be reserved beforehand, and `port_in_use` while another owner is bound. */
  | "reserved";

export interface Claim {
  /** Unique in the IPAM, 1 to 253 characters of `[A-Za-z0-9._:/@-]`. Exactly one of this and `slotOf`. */
  name?: string;
  /** Default `pod`. */
  nameFrom?: NameFrom;
  /** The claimant's cluster and namespace, checked against a reservation and the caller's identity. */
  cluster?: string;
  namespace?: string;
  host: string;
  /** The host's availability zone and physical networks; absent: no restriction. */
  availabilityZone?: string;
  physicalNetworks?: string[];
  /** Absent: a pre-claim; a later claim of the same owner adds the sandbox. */
  sandbox?: Sandbox;
  /**
   * When the host began to plug the sandbox, by the host's clock. A claim of one that it began earlier never displaces the same
   * owner's later one on that host (`stale_owner`). Absent: the claim that arrives last wins.
   */
  attemptedAt?: Timestamp;
  owner: Owner;
  /** The object whose lifetime a sticky port follows; replaces the port's former one. */
  workload?: Workload;
  /**
   * The name of a port leased to this host (`lease:...`) whose address a pod has already: the port gets the claim's name,
   * owner and sandbox, and keeps id, addresses, MAC and epoch. `conflict` if it is no longer leased to this host.
   */
  leasedPort?: string;
  /**
   * The claimant is the target of a live migration: while the port is bound elsewhere, the claim adds an INACTIVE binding, in
   * place of an earlier one, and leaves the ACTIVE one alone. An unbound port is bound as by any claim. Needs `name`.
   */
  migration?: Migration;
  /** Instead of `name`: the IPAM picks the slot and with it the name, which the result has. Sticky claims only. */
  slotOf?: SlotOf;
  /** Kubernetes label selector syntax. The empty string matches every network. Not used when the port exists and its network still matches. */
  networkSelector: string;
  /** Default: every family that the network has a subnet for. */
  families?: IpFamily[];
  /** Default ephemeral. */
  retention?: Retention;
  labels?: Labels;
  /** Wanted addresses, at most one a family. */
  ips?: string[];
  /** Wanted MAC, `aa:bb:cc:dd:ee:ff`, unicast. */
  mac?: string;
  /**
   * The sandbox has exactly this name, these `ips` and `mac` plugged, and the IPAM has lost it: the claim gets them, or fails.
   * Needs `sandbox` and `ips`; names a slot by `name` and `slotOf`. The selector and the reuse delay do not apply.
   */
  plugged?: boolean;
  /** What to do with a port whose network no longer matches or cannot be reached. Default `fail`. */
  onMismatch?: "fail" | "reallocate";
}

/** Makes a port's INACTIVE binding its ACTIVE one. Repeated, it changes nothing. */
export interface Activation {
  name: string;
  /** The host of the INACTIVE binding. */
  host: string;
  /** Only if the INACTIVE binding is the one of this epoch. */
  epoch?: number;
}

export interface Release {
  /** Only this port; absent: any port that the sandbox (or owner) is bound to. */
  name?: string;
  host: string;
  /** One of sandbox and ownerUid is required; ownerUid ends only bindings without a sandbox. */
  sandbox?: Sandbox;
  ownerUid?: string;
  /** The binding never had a sandbox: if it is the first one of a port that its claim created, the port is deleted too. */
  unused?: true;
  /**
   * True: the caller is the host itself and has disconnected the sandbox, so that nothing answers for its addresses any
   * more. Only then may their next holder use them unprobed. Default false.
   */
  unplugged?: boolean;
  /** Why the binding ends before the pod ran: another machine answers for this address of the port. */
  conflict?: AddressConflict;
}

/** What a probe of a port's address found (RFC 5227, RFC 4862). */
export interface AddressConflict {
  address: string;
  /** Of the machine that answered. */
  mac: string;
}

export interface Report {
  name: string;
  epoch: number;
  plane: Plane;
  state: PlaneState;
  /** For people, such as the error text of OVS. */
  message?: string;
}

/** The controller of the port's cluster observed whether the workload needs the unbound port. */
export interface WorkloadReport {
  name: string;
  /** Of the port that was seen: another one is `stale`. */
  id: string;
  epoch: number;
  need: "needed" | "deleted" | "scaled";
  /** False: a port that would be kept for less than an hour is left as it is, and the answer is `ends`. Default true. */
  mayEnd?: boolean;
  /** For people. */
  message?: string;
}

export type ClaimResult = PortAttachment | { problem: Problem };
export type ActivationResult = PortAttachment | { problem: Problem };
export type ReleaseResult =
  /** `released: false` is success too: `stale` (bound to another owner by now), `unbound` or `not_found`. */
  | { released: true; name: string; deleted: boolean }
  | { released: false; reason: "stale" | "unbound" | "not_found"; name?: string }
  | { problem: Problem };
export type ReportResult = { applied: true } | { applied: false; reason: "stale" | "not_found" } | { problem: Problem };

/** `stale`: bound or changed by now, or a port whose retention does not depend on a workload. */
export type WorkloadReportResult =
  | { applied: true; deleted: boolean; expiresAt?: Timestamp }
  | { applied: false; reason: "stale" | "not_found" | "ends" }
  | { problem: Problem };

/** Results come in request order. */
export interface ClaimsResponse {
  results: ClaimResult[];
}
export interface ActivationsResponse {
  results: ActivationResult[];
}
export interface ReleasesResponse {
  results: ReleaseResult[];
}
export interface ReportsResponse {
  results: ReportResult[];
}
export interface WorkloadReportsResponse {
  results: WorkloadReportResult[];
}
