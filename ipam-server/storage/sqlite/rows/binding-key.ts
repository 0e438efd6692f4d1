/**
 * A binding's index key of 48 bits: 24 of the host's hash, then 24 of the sandbox's. Bindings come in random order, so a
 * small key keeps the index in few pages, and a checkpoint copies a shared page once. Keys collide, so queries by the key
 * also compare host and sandbox.
 */
export const encodeBindingKey = (host: string, sandboxId: string | undefined): number =>
  hash24(host) * SANDBOXES + (sandboxId === undefined ? 0 : hash24(sandboxId));

/** The range that contains the keys of all of a host's bindings. */
export function bindingKeysOf(host: string): { first: number; last: number } {
  const first = encodeBindingKey(host, undefined);
  return { first, last: first + SANDBOXES - 1 };
}

const SANDBOXES = 2 ** 24;

/** FNV-1a, folded to 24 bits. It must not change, because databases store it. */
function hash24(text: string): number {
  let hash = 0x81_1c_9d_c5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01_00_01_93);
  return ((hash >>> 24) ^ hash) & 0xff_ff_ff;
}
