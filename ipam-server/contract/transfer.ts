/**
 * The stream of `GET /v1/export` and `POST /v1/import`: JSON, one object a line. A header, then networks by name, ports
 * by key, freed addresses by network and address, the counters, and the end with the checksum.
 */
export const TRANSFER_KIND = "mooring-export";
export const TRANSFER_FORMAT = 1;
export const TRANSFER_TYPE = "application/jsonl";

export interface TransferHeader {
  kind: typeof TRANSFER_KIND;
  /** Grows when a reader of the previous format would misread a line. */
  format: number;
  exportedAt: string;
}

export interface TransferEnd {
  kind: "end";
  /** How many lines are between the header and this one. */
  rows: number;
  /** `sha256:` and the hash of those lines, each with its line feed: stores with equal content have equal digests. */
  digest: string;
}

export interface ImportResponse {
  networks: number;
  ports: number;
  freed: number;
  /** Of the rows read back from the store; equal to the stream's. */
  digest: string;
}
