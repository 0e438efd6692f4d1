/**
 * Where a port is bound, as a 48-bit number to find it by: 24 bits of the host's hash, then 24 of the sandbox's. Host and
 * sandbox come in no order, so each binding touches a page of the index somewhere; a small key makes the pages few, and
 * pages that many bindings share are copied out of the write-ahead log once for all of them. Equal keys prove nothing:
 * whoever looks by the key compares host and sandbox too.
 */
export const encodeBindingKey = (host: string, sandboxId: string | undefined): number =>
  hash24(host) * SANDBOXES + (sandboxId === undefined ? 0 : hash24(sandboxId));

/** The range in which all of a host's bindings have their keys. */
export function bindingKeysOf(host: string): { first: number; last: number } {
  const first = encodeBindingKey(host, undefined);
  return { first, last: first + SANDBOXES - 1 };
}

const SANDBOXES = 2 ** 24;

/** FNV-1a, folded. It is in the database: it stays as it is. */
function hash24(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01_00_01_93);
  return ((hash >>> 24) ^ hash) & 0xff_ff_ff;
}
