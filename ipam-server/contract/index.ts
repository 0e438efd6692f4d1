/**
 * The wire types of the IPAM's HTTP API (`/v1`, JSON, camelCase). No dependency, no code: the server, the CNI plugin
 * and mooringctl all speak these.
 *
 * Glossary (Neutron's words for addresses, the CNI spec's for the plugin, Kubernetes' for workloads):
 *
 * - network: one L2 segment. Chosen by label selector, never by id.
 * - subnet: one CIDR of a network.
 * - port: one endpoint's identity on a network: unique name, MAC, fixed IPs, owner, retention, binding, plane states.
 * - fixed IP: an address of a subnet held by a port.
 * - claim: "the port of this name, bound to me". Creates, finds or moves the port. Idempotent.
 * - binding: where a port is plugged now. Its epoch grows by one at every new binding and fences late reports.
 * - INACTIVE binding: a migration's target, plugged without traffic beside the ACTIVE one; activation swaps it in.
 * - release: "my sandbox is gone". Ends the binding if it is still the caller's, else changes nothing.
 * - retention: what happens to an unbound port: `ephemeral` (deleted) or `sticky` (kept).
 * - plane: `underlay` (host: veth, OVS) or `overlay` (fabric: leaf switch).
 * - drift: a port's binding moves to another host, its addresses and MAC unchanged.
 */
export * from "./claim.ts";
export * from "./cluster.ts";
export * from "./conflict.ts";
export { ERROR_CODES, type ErrorCode } from "./error-codes.ts";
export * from "./event.ts";
export { IpamError, type IpamErrorDetails } from "./ipam-error.ts";
export * from "./network.ts";
export * from "./port.ts";
export * from "./problem.ts";
export * from "./recovery.ts";
export * from "./retention.ts";
export * from "./transfer.ts";
export * from "./values.ts";
