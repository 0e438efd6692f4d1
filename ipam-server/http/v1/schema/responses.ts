import { z } from "zod";
import {
  type ActivationResult,
  type ClaimResult,
  type Cluster,
  type ClusterList,
  type ConflictList,
  ERROR_CODES,
  type ErrorCode,
  EVENT_TYPES,
  type EventList,
  GAP,
  type MooringEvent,
  type Network,
  type NetworkList,
  type Port,
  type PortAttachment,
  type PortList,
  type Problem,
  type PurgeResponse,
  type PutNetworkResponse,
  type Recovery,
  type ReleaseResult,
  type ReportResult,
  type Subnet,
  type WorkloadReportResult,
} from "../../../contract/index.ts";
import { dns, owner, planeState, retention, route, sandbox, segment, workload, workloadRetention } from "./requests.ts";

/** Schemas of responses, for the OpenAPI document. `satisfies` checks them against the contract's types. */
const optional = z.exactOptional;
const text = z.string();
const texts = z.array(text);
const time = z.iso.datetime();
const labels = z.record(text, text);

export const problem = z
  .object({
    type: text,
    title: text,
    status: z.int(),
    detail: text,
    code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
    field: optional(text),
    ports: optional(texts),
    retryAfterSeconds: optional(z.int()),
  })
  .meta({ id: "Problem" }) satisfies z.ZodType<Problem>;
const failed = z.object({ problem });

export const subnet = z
  .object({
    cidr: text,
    ipVersion: z.union([z.literal(4), z.literal(6)]),
    gateway: optional(text),
    pools: texts,
    exclude: texts,
    routes: z.array(route),
    dns,
    usage: z.object({ size: text, held: z.int(), freed: z.int() }),
  })
  .meta({ id: "Subnet" }) satisfies z.ZodType<Subnet>;

const nodeLease = z.object({ size: z.int(), low: z.int() });

export const network = z
  .object({
    name: text,
    labels,
    vpc: text,
    availabilityZone: optional(text),
    segment,
    mtu: z.int(),
    nodeLease: optional(nodeLease),
    retention: optional(workloadRetention),
    subnets: z.array(subnet),
    createdAt: time,
    updatedAt: time,
  })
  .meta({ id: "Network" }) satisfies z.ZodType<Network>;

const binding = z.object({ host: text, ownerUid: text, sandbox: optional(sandbox), boundAt: time });

export const port = z
  .object({
    name: text,
    id: text,
    network: text,
    mac: text,
    fixedIps: z.array(
      z.object({ address: text, subnet: text, prefixLength: z.int().min(0).max(128), gateway: optional(text) }),
    ),
    labels,
    retention,
    owner: optional(owner),
    binding: optional(binding),
    inactiveBinding: optional(binding.extend({ epoch: z.int(), migration: z.object({ id: text }) })),
    reservation: optional(z.object({ allowedNamespaces: texts, deviceOwner: optional(text) })),
    cluster: optional(text),
    namespace: optional(text),
    workload: optional(workload),
    slot: optional(z.int()),
    epoch: z.int(),
    underlay: planeState,
    overlay: planeState,
    state: z.templateLiteral([planeState, "_", planeState]),
    createdAt: time,
    updatedAt: time,
    releasedAt: optional(time),
    unneeded: optional(z.enum(["deleted", "scaled"])),
    protected: optional(z.literal(true)),
    expiresAt: optional(time),
  })
  .meta({ id: "Port" }) satisfies z.ZodType<Port>;

const portAttachment = z
  .object({
    port,
    segment,
    mtu: z.int(),
    routes: z.array(route),
    dns,
    nodeLease: optional(nodeLease),
    inactive: optional(z.literal(true)),
    previousBindingReleased: z.boolean(),
  })
  .meta({ id: "PortAttachment" }) satisfies z.ZodType<PortAttachment>;

export const claimResult = z.union([portAttachment, failed]) satisfies z.ZodType<ClaimResult>;
export const activationResult = z.union([portAttachment, failed]) satisfies z.ZodType<ActivationResult>;
export const releaseResult = z.union([
  z.object({ released: z.literal(true), name: text, deleted: z.boolean() }),
  z.object({
    released: z.literal(false),
    reason: z.enum(["stale", "unbound", "not_found"]),
    name: optional(text),
  }),
  failed,
]) satisfies z.ZodType<ReleaseResult>;
export const reportResult = z.union([
  z.object({ applied: z.literal(true) }),
  z.object({ applied: z.literal(false), reason: z.enum(["stale", "not_found"]) }),
  failed,
]) satisfies z.ZodType<ReportResult>;

export const workloadReportResult = z.union([
  z.object({ applied: z.literal(true), deleted: z.boolean(), expiresAt: optional(time) }),
  z.object({ applied: z.literal(false), reason: z.enum(["stale", "not_found", "ends"]) }),
  failed,
]) satisfies z.ZodType<WorkloadReportResult>;

export const putNetworkResponse = z
  .object({ network, outcome: z.enum(["created", "changed", "unchanged"]), changes: texts })
  .meta({ id: "PutNetworkResponse" }) satisfies z.ZodType<PutNetworkResponse>;
export const networkList = z.object({ networks: z.array(network) }) satisfies z.ZodType<NetworkList>;
export const subnetList = z.object({ subnets: z.array(subnet) });
export const portList = z.object({ ports: z.array(port), nextCursor: optional(text) }) satisfies z.ZodType<PortList>;

export const conflictList = z.object({
  conflicts: z.array(
    z
      .object({ address: text, network: text, subnet: text, mac: text, host: text, port: text, foundAt: time })
      .meta({ id: "Conflict" }),
  ),
}) satisfies z.ZodType<ConflictList>;

export const event = z
  .object({
    seq: z.int(),
    time,
    type: z.enum([...EVENT_TYPES, GAP]),
    caller: text,
    port: optional(text),
    portId: optional(text),
    cluster: optional(text),
    network: optional(text),
    host: optional(text),
    fromHost: optional(text),
    epoch: optional(z.int()),
    mac: optional(text),
    addresses: optional(texts),
    state: optional(text),
    sandboxId: optional(text),
    ownerUid: optional(text),
    message: optional(text),
  })
  .meta({ id: "Event" }) satisfies z.ZodType<MooringEvent>;
export const eventList = z.object({
  events: z.array(event),
  lastSeq: z.int(),
  oldestSeq: z.int(),
  nextAfter: optional(z.int()),
}) satisfies z.ZodType<EventList>;
export const checkResponse = z.object({ findings: z.array(z.object({ what: text, where: text })) });

export const cluster = z
  .object({
    name: text,
    uid: text,
    registeredAt: time,
    heldPass: optional(
      z.object({
        id: text,
        releases: z.int(),
        deletions: z.int(),
        ports: z.int(),
        heldAt: time,
        confirmedUntil: optional(time),
      }),
    ),
  })
  .meta({ id: "Cluster" }) satisfies z.ZodType<Cluster>;
export const clusterList = z.object({ clusters: z.array(cluster) }) satisfies z.ZodType<ClusterList>;
export const recovery = z
  .discriminatedUnion("active", [
    z.object({ active: z.literal(false) }),
    z.object({
      active: z.literal(true),
      since: time,
      until: time,
      waitingFor: z.array(z.object({ cluster: optional(text), host: text, pending: optional(z.int()) })),
    }),
  ])
  .meta({ id: "Recovery" }) satisfies z.ZodType<Recovery>;
export const purgeResponse = z
  .object({ deleted: z.int(), unbound: z.int(), kept: z.int(), nextCursor: optional(text) })
  .meta({ id: "PurgeResponse" }) satisfies z.ZodType<PurgeResponse>;
