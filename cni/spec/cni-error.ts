import { ERROR_CODES } from "../../ipam-server/contract/error-codes.ts";
import { IpamError } from "../../ipam-server/contract/ipam-error.ts";
import { DatapathError, type DatapathStep } from "../datapath/datapath-error.ts";
import type { CniVersion } from "./versions.ts";

/** 1 to 99 are the spec's (section 5, Error); the contract's ERROR_CODES lists those of IPAM errors. */
export const CNI_CODES = {
  incompatibleVersion: 1,
  invalidEnvironment: 4,
  io: 5,
  decoding: 6,
  invalidConfig: 7,
  tryAgain: 11,
  /** STATUS: ADD cannot be served. */
  notAvailable: 50,
  /** STATUS: ADD cannot be served, and running pods may have limited connectivity. */
  limitedConnectivity: 51,
  /** A datapath failure that retrying does not fix. */
  datapath: 120,
  /** CHECK found differences. */
  different: 121,
  /** libcni's number for an internal error of a plugin. */
  internal: 999,
} as const;

type IpamCode = (typeof ERROR_CODES)[keyof typeof ERROR_CODES]["cni"];
type CniCode = (typeof CNI_CODES)[keyof typeof CNI_CODES] | IpamCode;

/** Steps `ovs`, `bridge`, `ofport`, `probe` and `unplug` may succeed when the runtime retries. */
const CODE_BY_STEP: Record<DatapathStep, CniCode> = {
  netns: CNI_CODES.invalidEnvironment,
  veth: CNI_CODES.datapath,
  ovs: CNI_CODES.tryAgain,
  bridge: CNI_CODES.tryAgain,
  ofport: CNI_CODES.tryAgain,
  configure: CNI_CODES.datapath,
  unplug: CNI_CODES.tryAgain,
  offload: CNI_CODES.datapath,
  probe: CNI_CODES.tryAgain,
};

interface CniErrorOptions {
  details?: string;
  cause?: unknown;
}

/** A failure as the runtime sees it: a closed code and a message that says what to do. */
export class CniError extends Error {
  override readonly name = "CniError";
  readonly code: CniCode;
  readonly details: string | undefined;

  constructor(code: CniCode, message: string, { details, cause }: CniErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }

  static from(error: unknown): CniError {
    if (error instanceof CniError) return error;
    if (error instanceof IpamError) {
      return new CniError(ERROR_CODES[error.code].cni, error.message, { details: describeIpam(error), cause: error });
    }
    if (error instanceof DatapathError) {
      const details = `datapath step: ${error.step}`;
      return new CniError(CODE_BY_STEP[error.step], error.message, { details, cause: error });
    }
    return new CniError(CNI_CODES.internal, describeError(error), {
      details: "internal error in Mooring: please report it with the runtime's log",
      cause: error,
    });
  }

  /** The error document of the spec (section 5, Error). */
  toJson(cniVersion: CniVersion): string {
    const { code, message, details } = this;
    return JSON.stringify({ cniVersion, code, msg: message, ...(details !== undefined && { details }) });
  }
}

export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function describeIpam(error: IpamError): string {
  const { field, ports } = error.details;
  const parts = [`IPAM: ${error.code}`];
  if (field !== undefined) parts.push(`field: ${field}`);
  if (ports !== undefined) parts.push(`ports: ${ports.join(", ")}`);
  return parts.join("; ");
}
