import type { Retention } from "../../../../ipam-server/contract/index.ts";
import type { Bearer } from "./bearers.ts";

/** A port as the answers of the store describe it. */
export interface ModelPort {
  id: string;
  network: string;
  addresses: string[];
  mac: string;
  retention: Retention;
  /** Who may claim a reserved port. */
  allowed: string[] | undefined;
  /** The last owner. */
  bearer: Bearer | undefined;
  /** When an unbound port's retention ends. */
  expiresAt: number | undefined;
  epoch: number;
  /** The highest that any answer had. */
  lastEpoch: number;
  inactive:
    | { host: string; sandboxId: string | undefined; ownerUid: string; epoch: number; bearer: Bearer }
    | undefined;
  ownerUid: string | undefined;
  host: string | undefined;
  sandboxId: string | undefined;
  underlay: string;
}
