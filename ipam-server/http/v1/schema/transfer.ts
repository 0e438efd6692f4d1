import { z } from "zod";
import { type ImportResponse, TRANSFER_KIND, type TransferEnd, type TransferHeader } from "../../../contract/index.ts";
import type {
  TransferCluster,
  TransferCooling,
  TransferFreed,
  TransferNetwork,
  TransferPort,
  TransferState,
} from "../../../domain/transfer/transfer.ts";
import * as f from "./fields.ts";
import {
  migration,
  nameFrom,
  owner,
  planeState,
  retention,
  sandbox,
  segment,
  subnetSpec,
  workload,
  workloadRetention,
} from "./requests.ts";

/** Schemas of an export's lines. They are strict, so that an import drops nothing silently. */
const optional = z.exactOptional;
const count = z.int().min(0);
/** A distance in a pool: up to 2^64. */
const distance = z.string().regex(/^(0|[1-9]\d{0,19})$/, { error: "is not a whole number in decimal" });
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/, { error: "is not sha256: and 64 hexadecimal digits" });

export const header = z.strictObject({
  kind: z.literal(TRANSFER_KIND),
  format: z.int().min(1),
  exportedAt: f.timestamp,
}) satisfies z.ZodType<TransferHeader>;

const network = z.strictObject({
  kind: z.literal("network"),
  name: f.networkName,
  labels: f.labels,
  vpc: f.identifier,
  availabilityZone: optional(f.identifier),
  segment,
  mtu: count,
  nodeLease: optional(z.strictObject({ size: z.int().min(1), low: z.int().min(1) })),
  retention: optional(workloadRetention),
  createdAt: f.timestamp,
  updatedAt: f.timestamp,
  subnets: z.array(
    z.strictObject({
      spec: subnetSpec,
      held: count,
      outside: count,
      freed: count,
      pools: z.array(z.strictObject({ range: z.string(), passed: distance })),
    }),
  ),
}) satisfies z.ZodType<TransferNetwork>;

const binding = z.strictObject({
  host: f.identifier,
  sandbox: optional(sandbox),
  boundAt: f.timestamp,
  attemptedAt: optional(f.timestamp),
});

const port = z.strictObject({
  kind: z.literal("port"),
  key: z.int().min(1),
  id: f.identifier,
  name: f.portName,
  network: f.networkName,
  mac: f.mac,
  addresses: f.ips.min(1),
  labels: f.labels,
  retention,
  owner: optional(owner),
  binding: optional(binding),
  inactive: optional(z.strictObject({ ...binding.shape, owner, epoch: count, migration })),
  reservation: optional(
    z.strictObject({ allowedNamespaces: z.array(z.string()), deviceOwner: optional(f.identifier) }),
  ),
  cluster: optional(f.clusterName),
  namespace: optional(f.identifier),
  workload: optional(workload),
  nameFrom: optional(nameFrom),
  slot: optional(z.strictObject({ of: z.string().min(1).max(512), number: count })),
  epoch: count,
  lastEpoch: optional(count),
  underlay: planeState,
  overlay: planeState,
  previousBindingReleased: z.boolean(),
  createdAt: f.timestamp,
  updatedAt: f.timestamp,
  releasedAt: optional(f.timestamp),
  expiresAt: optional(f.timestamp),
  unneeded: optional(z.enum(["deleted", "scaled"])),
  protected: optional(z.literal(true)),
}) satisfies z.ZodType<TransferPort>;

const freed = z.strictObject({
  kind: z.literal("freed"),
  network: f.networkName,
  address: f.ip,
  pooled: z.boolean(),
  freedAt: f.timestamp,
  lastPort: z.string(),
  released: optional(z.boolean()),
  conflict: optional(z.strictObject({ mac: f.mac, host: f.identifier })),
}) satisfies z.ZodType<TransferFreed>;

const cooling = z.strictObject({
  kind: z.literal("cooling"),
  segment: z.string().regex(/^.{1,253}\/\d{1,4}$/, { error: "is not a physical network, / and a VLAN" }),
  subnet: z.string().max(64),
  address: f.ip,
  freedAt: f.timestamp,
  lastPort: z.string(),
}) satisfies z.ZodType<TransferCooling>;

const cluster = z.strictObject({
  kind: z.literal("cluster"),
  name: f.clusterName,
  uid: f.identifier,
  registeredAt: f.timestamp,
}) satisfies z.ZodType<TransferCluster>;

const state = z.strictObject({
  kind: z.literal("state"),
  lastSeq: count,
  nextPortKey: z.int().min(1),
  epochFloor: count,
}) satisfies z.ZodType<TransferState>;

const end = z.strictObject({ kind: z.literal("end"), rows: count, digest }) satisfies z.ZodType<TransferEnd>;

export const line = z.discriminatedUnion("kind", [network, port, freed, cooling, cluster, state, end]);

export const importResponse = z
  .object({ networks: count, ports: count, freed: count, digest })
  .meta({ id: "ImportResponse" }) satisfies z.ZodType<ImportResponse>;
