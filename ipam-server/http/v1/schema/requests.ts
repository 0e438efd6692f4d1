import { z } from "zod";
import {
  type Activation,
  type Claim,
  type ClusterRegistration,
  type ConflictQuery,
  EVENT_TYPES,
  type EventQuery,
  type NetworkManifest,
  type NetworkQuery,
  type PassConfirmation,
  type PortPrecondition,
  type PortProtection,
  type PortQuery,
  type PortReservation,
  type PurgeRequest,
  type RecoveryReport,
  type Release,
  type Report,
  type SubnetSpec,
  type WorkloadReport,
} from "../../../contract/index.ts";
import * as f from "./fields.ts";

/** Schemas of request bodies and queries. Objects are strict: an unknown field is an error. */
const optional = z.exactOptional;

export const sandbox = z.strictObject({ id: f.identifier, interface: f.interfaceName });
export const owner = z.strictObject({
  kind: z.enum(["pod", "vm", "device", "lease"]),
  uid: f.identifier,
  createdAt: f.timestamp,
});
const seconds = z.int().min(1).max(3_153_600_000);
/** For ever, not at all, or seconds. */
const retentionTime = z.union([z.enum(["Retain", "Delete"]), seconds], {
  error: 'is not "Retain", "Delete" or a number of seconds from 1',
});
const retentionTimes = { whenDeleted: optional(retentionTime), whenScaled: optional(retentionTime) };
export const workloadRetention = z.strictObject(retentionTimes);
export const retention = z.strictObject({
  policy: z.enum(["ephemeral", "sticky"]),
  ttlSeconds: optional(seconds),
  ...retentionTimes,
});
export const segment = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("flat"), physicalNetwork: f.identifier }),
  z.strictObject({ type: z.literal("vlan"), id: z.int().min(1).max(4094), physicalNetwork: f.identifier }),
]);
export const route = z.strictObject({ dst: f.syntax, gw: optional(f.ip) });
const texts = z.array(z.string().max(253)).max(32);
export const dns = z.strictObject({
  nameservers: optional(z.array(f.ip).max(32)),
  domain: optional(z.string().max(253)),
  search: optional(texts),
  options: optional(texts),
});

export const workload = z.strictObject({
  kind: z.enum(["StatefulSet", "Deployment", "ReplicaSet", "VirtualMachine", "Pod"]),
  namespace: f.identifier,
  name: f.identifier,
  uid: optional(f.identifier),
  ordinal: optional(z.int().min(0)),
});
export const slotOf = z.strictObject({ application: f.portName, interface: optional(f.portInterfaceName) });

export const migration = z.strictObject({ id: f.identifier });

export const nameFrom = z.enum(["pod", "labels", "reserved"]);

export const claim = z
  .strictObject({
    name: optional(f.portName),
    nameFrom: optional(nameFrom),
    cluster: optional(f.clusterName),
    namespace: optional(f.identifier),
    host: f.identifier,
    availabilityZone: optional(f.identifier),
    physicalNetworks: optional(z.array(f.identifier).max(256)),
    sandbox: optional(sandbox),
    attemptedAt: optional(f.timestamp),
    owner,
    workload: optional(workload),
    leasedPort: optional(f.portName),
    slotOf: optional(slotOf),
    migration: optional(migration),
    networkSelector: f.syntax,
    families: optional(f.families),
    retention: optional(retention),
    labels: optional(f.labels),
    ips: optional(f.ips),
    mac: optional(f.mac),
    plugged: optional(z.boolean()),
    onMismatch: optional(z.enum(["fail", "reallocate"])),
  })
  .meta({ id: "Claim" }) satisfies z.ZodType<Claim>;

export const activation = z
  .strictObject({ name: f.portName, host: f.identifier, epoch: optional(z.int().min(0)) })
  .meta({ id: "Activation" }) satisfies z.ZodType<Activation>;

export const release = z
  .strictObject({
    name: optional(f.portName),
    host: f.identifier,
    sandbox: optional(sandbox),
    ownerUid: optional(f.identifier),
    unused: optional(z.literal(true)),
    unplugged: optional(z.boolean()),
    conflict: optional(z.strictObject({ address: f.ip, mac: f.mac })),
  })
  .refine(item => item.sandbox !== undefined || item.ownerUid !== undefined, {
    error: "needs sandbox or ownerUid: a binding ends only by its own sandbox or owner",
  })
  .meta({ id: "Release" }) satisfies z.ZodType<Release>;

export const plane = z.enum(["underlay", "overlay"]);
export const planeState = z.enum(["DOWN", "BUILD", "ACTIVE", "ERROR"]);
export const report = z
  .strictObject({
    name: f.portName,
    epoch: z.int().min(0),
    plane,
    state: planeState,
    message: optional(f.message),
  })
  .meta({ id: "Report" }) satisfies z.ZodType<Report>;

export const workloadNeed = z.enum(["needed", "deleted", "scaled"]);
export const workloadReport = z
  .strictObject({
    name: f.portName,
    id: f.identifier,
    epoch: z.int().min(0),
    need: workloadNeed,
    mayEnd: optional(z.boolean()),
    message: optional(f.message),
  })
  .meta({ id: "WorkloadReport" }) satisfies z.ZodType<WorkloadReport>;

export const subnetSpec = z
  .strictObject({
    cidr: f.syntax,
    gateway: optional(f.ip),
    pools: optional(z.array(f.syntax).max(256)),
    exclude: optional(z.array(f.syntax).max(4096)),
    routes: optional(z.array(route).max(256)),
    dns: optional(dns),
  })
  .meta({ id: "SubnetSpec" }) satisfies z.ZodType<SubnetSpec>;

export const nodeLease = z
  .strictObject({ size: z.int().min(1).max(256), low: optional(z.int().min(1).max(256)) })
  .refine(({ size, low = 1 }) => low <= size, { error: "low is greater than size" });

export const networkManifest = z
  .strictObject({
    apiVersion: z.literal("mooring.dev/v1"),
    kind: z.literal("Network"),
    metadata: z.strictObject({ name: f.networkName, labels: optional(f.labels) }),
    spec: z.strictObject({
      vpc: optional(f.identifier),
      availabilityZone: optional(f.identifier),
      segment,
      mtu: optional(
        z
          .int()
          .min(0)
          .max(65535)
          .refine(mtu => mtu === 0 || mtu >= 68, { error: "is below 68, the minimum of IPv4 (0: default)" }),
      ),
      nodeLease: optional(nodeLease),
      retention: optional(workloadRetention),
      subnets: optional(z.array(subnetSpec).max(256)),
    }),
  })
  .meta({ id: "NetworkManifest" }) satisfies z.ZodType<NetworkManifest>;

export const portReservation = z
  .strictObject({
    networkSelector: f.syntax,
    families: optional(f.families),
    ips: optional(f.ips),
    mac: optional(f.mac),
    labels: optional(f.labels),
    allowedNamespaces: optional(z.array(z.string().min(1).max(512)).max(256)),
    deviceOwner: optional(f.identifier),
  })
  .meta({ id: "PortReservation" }) satisfies z.ZodType<PortReservation>;

export const portProtection = z
  .strictObject({ protected: z.boolean() })
  .meta({ id: "PortProtection" }) satisfies z.ZodType<PortProtection>;

export const networkQuery = z.strictObject({ label: optional(f.syntax) }) satisfies z.ZodType<NetworkQuery>;

export const portQuery = z.strictObject({
  name: optional(f.portName),
  network: optional(f.networkName),
  host: optional(f.identifier),
  ip: optional(f.ip),
  mac: optional(f.mac),
  label: optional(f.syntax),
  state: optional(
    z.string().regex(/^(bound|unbound|(DOWN|BUILD|ACTIVE|ERROR)_(DOWN|BUILD|ACTIVE|ERROR))$/, {
      error: "is not bound, unbound or a pair of plane states such as ACTIVE_ACTIVE",
    }),
  ),
  cluster: optional(f.clusterName),
  limit: optional(f.limit),
  cursor: optional(z.string().max(1024)),
}) satisfies z.ZodType<PortQuery>;

export const conflictQuery = z.strictObject({ network: optional(f.networkName) }) satisfies z.ZodType<ConflictQuery>;

export const portPrecondition = z.strictObject({
  id: optional(f.identifier),
  epoch: optional(z.int().min(0)),
}) satisfies z.ZodType<PortPrecondition>;

export const eventQuery = z.strictObject({
  after: optional(z.int().min(0)),
  host: optional(f.identifier),
  type: optional(z.array(z.enum(EVENT_TYPES)).min(1).max(EVENT_TYPES.length)),
  port: optional(f.portName),
  ip: optional(f.ip),
  mac: optional(f.mac),
  limit: optional(f.limit),
}) satisfies z.ZodType<EventQuery>;

const passId = f.identifier;
export const clusterRegistration = z
  .strictObject({
    uid: f.identifier,
    heldPass: optional(
      z
        .strictObject({
          id: passId,
          releases: z.int().min(0),
          deletions: z.int().min(0),
          ports: z.int().min(0),
        })
        .nullable(),
    ),
  })
  .meta({ id: "ClusterRegistration" }) satisfies z.ZodType<ClusterRegistration>;
export const passConfirmation = z.strictObject({ pass: passId }) satisfies z.ZodType<PassConfirmation>;
export const purgeRequest = z.strictObject({
  cursor: optional(z.string().max(1024)),
}) satisfies z.ZodType<PurgeRequest>;

export const recoveryReport = z
  .strictObject({
    cluster: optional(f.clusterName),
    host: f.identifier,
    pending: z.int().min(0).max(100_000),
  })
  .meta({ id: "RecoveryReport" }) satisfies z.ZodType<RecoveryReport>;
