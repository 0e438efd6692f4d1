/** Kubernetes labels: keys and values follow the Kubernetes label syntax. */
export type Labels = Record<string, string>;

export type IpFamily = "ipv4" | "ipv6";

/** A point in time, RFC 3339 in UTC with milliseconds: `2026-11-20T08:00:00.000Z`. */
export type Timestamp = string;
