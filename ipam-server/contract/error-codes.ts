/**
 * The closed set of error codes, and the HTTP status of each (RFC 9110), its CNI error code (1 to 99 are the spec's,
 * from 100 on the plugin's) and whether the same call may succeed later without a change.
 */
export const ERROR_CODES = {
  invalid_request: { http: 400, cni: 7, retry: false, title: "Invalid request" },
  unauthenticated: { http: 401, cni: 110, retry: false, title: "Unauthenticated" },
  forbidden: { http: 403, cni: 111, retry: false, title: "Forbidden" },
  not_found: { http: 404, cni: 101, retry: false, title: "Not found" },
  no_matching_network: { http: 422, cni: 102, retry: true, title: "No matching network" },
  network_unreachable: { http: 422, cni: 103, retry: true, title: "Network unreachable" },
  no_address_available: { http: 409, cni: 104, retry: true, title: "No address available" },
  address_in_use: { http: 409, cni: 105, retry: true, title: "Address in use" },
  port_in_use: { http: 409, cni: 106, retry: true, title: "Port in use" },
  stale_owner: { http: 409, cni: 107, retry: false, title: "Stale owner" },
  conflict: { http: 409, cni: 108, retry: false, title: "Conflict" },
  overloaded: { http: 503, cni: 11, retry: true, title: "Overloaded" },
  unavailable: { http: 503, cni: 11, retry: true, title: "Service unavailable" },
  internal: { http: 500, cni: 11, retry: true, title: "Internal error" },
} as const satisfies Record<string, { http: number; cni: number; retry: boolean; title: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;
