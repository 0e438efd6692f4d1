import type { Pod } from "./pod.ts";

/** The API server's name generator: at most 58 characters of `generateName`, then five of these. */
const LONGEST_BASE = 58;
const RANDOM = /^[bcdfghjklmnpqrstvwxz2456789]{5}$/;

/** True if the pod's name will not return. Excludes a StatefulSet, whose pods have its `generateName` and an ordinal. */
export function hasGeneratedName({ name, generateName, controller }: Pod): boolean {
  if (generateName === undefined || controller?.kind === "StatefulSet") return false;
  const base = generateName.slice(0, LONGEST_BASE);
  return name.startsWith(base) && RANDOM.test(name.slice(base.length));
}
