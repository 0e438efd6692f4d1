/** The CNI spec versions this plugin speaks, oldest first. */
export const SUPPORTED_VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];

/** Used where the caller's version could not be read. */
export const NEWEST_VERSION: CniVersion = "1.1.0";

export function isSupported(version: unknown): version is CniVersion {
  return (SUPPORTED_VERSIONS as readonly unknown[]).includes(version);
}

export function isAtLeast(version: CniVersion, wanted: CniVersion): boolean {
  return SUPPORTED_VERSIONS.indexOf(version) >= SUPPORTED_VERSIONS.indexOf(wanted);
}

/** The answer of VERSION: `cniVersion` repeats what the caller asked with (spec 1.0, section 2, VERSION). */
export function formatVersion(asked: unknown): string {
  const cniVersion = isSupported(asked) ? asked : NEWEST_VERSION;
  return JSON.stringify({ cniVersion, supportedVersions: SUPPORTED_VERSIONS });
}
