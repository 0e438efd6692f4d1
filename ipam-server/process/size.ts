/** The grammar of sizes in options. */
export const SIZE_ACCEPTS = "a size such as 512MiB, 20GiB or 1TiB";

const UNITS = { MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 } as const;

/** Returns bytes, at least a MiB, or undefined for a text that is no size. */
export function parseSize(text: string): number | undefined {
  const [, digits, unit] = /^(\d{1,6})(MiB|GiB|TiB)$/.exec(text) ?? [];
  const size = Number(digits) * UNITS[unit as keyof typeof UNITS];
  return size > 0 ? size : undefined;
}
