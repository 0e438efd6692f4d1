/** A claim leaves about a KiB in a database, with indexes and events; the name is in one of the two indexes. */
const PAYLOAD = "x".repeat(700);

export interface PeerRow {
  key: number;
  /** In no order, as the names of pods. */
  name: string;
  payload: string;
}

export const peerRows = (first: number, count: number): PeerRow[] =>
  Array.from({ length: count }, (_, offset) => {
    const key = first + offset;
    return { key, name: `${Math.imul(key, 0x9e3779b1) >>> 0}-${key}`, payload: PAYLOAD };
  });
