/**
 * The closed set of error codes, and what each means to HTTP (RFC 9110 status), to CNI (error code; 1 to 99 are the
 * spec's, from 100 on the plugin's) and to the caller: whether the same call may succeed later without a change.
 */
export const ERROR_CODES = {
  invalid_request: { http: 400, cni: 7, retry: false, title: "The request is not valid" },
  unauthenticated: { http: 401, cni: 110, retry: false, title: "The caller is not known" },
  forbidden: { http: 403, cni: 111, retry: false, title: "The caller may not do this" },
  not_found: { http: 404, cni: 101, retry: false, title: "There is no such thing" },
  no_matching_network: { http: 422, cni: 102, retry: true, title: "No network matches the selector" },
  network_unreachable: { http: 422, cni: 103, retry: true, title: "The host cannot reach the network" },
  no_address_available: { http: 409, cni: 104, retry: true, title: "The network has no free address" },
  address_in_use: { http: 409, cni: 105, retry: true, title: "The address is held by another port" },
  port_in_use: { http: 409, cni: 106, retry: true, title: "The port is bound to another owner" },
  stale_owner: { http: 409, cni: 107, retry: false, title: "A newer owner has the port" },
  conflict: { http: 409, cni: 108, retry: false, title: "The change conflicts with what is there" },
  overloaded: { http: 503, cni: 11, retry: true, title: "Too much work is waiting" },
  unavailable: { http: 503, cni: 11, retry: true, title: "The service is not available now" },
  internal: { http: 500, cni: 11, retry: true, title: "A fault in Mooring" },
} as const satisfies Record<string, { http: number; cni: number; retry: boolean; title: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;
