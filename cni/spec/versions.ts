/** Supported CNI spec versions, oldest first. */
export const SUPPORTED_VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];

/** Answers in this version when the caller's cannot be parsed. */
export const NEWEST_VERSION: CniVersion = "1.1.0";

export function isSupported(version: unknown): version is CniVersion {
  return (SUPPORTED_VERSIONS as readonly unknown[]).includes(version);
}

export function isAtLeast(version: CniVersion, wanted: CniVersion): boolean {
  return SUPPORTED_VERSIONS.indexOf(version) >= SUPPORTED_VERSIONS.indexOf(wanted);
}

/** Formats VERSION's answer; `cniVersion` echoes the request's (spec 1.0, section 2, VERSION). */
export function formatVersion(asked: unknown): string {
  const cniVersion = isSupported(asked) ? asked : NEWEST_VERSION;
  return JSON.stringify({ cniVersion, supportedVersions: SUPPORTED_VERSIONS });
}
