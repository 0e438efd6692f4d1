/** The host link's `ifalias`: identifies Mooring's links even if OVS has lost their rows. */
export function deriveAlias(sandboxId: string, containerInterface: string): string {
  return `mooring:${sandboxId}/${containerInterface}`;
}

/** Parses an alias of `deriveAlias`; undefined for any other alias. */
export function parseAlias(alias: string): { sandboxId: string; containerInterface: string } | undefined {
  const [, sandboxId, containerInterface] = /^mooring:(.+)\/([^/]+)$/.exec(alias) ?? [];
  return sandboxId === undefined || containerInterface === undefined ? undefined : { sandboxId, containerInterface };
}

/** Candidate names before a collision is an error; each further collision is as unlikely as the first. */
const CANDIDATES = 4;

/**
 * Candidate host interface names, best first: stable for an identity, so that DEL and a repeated ADD find them, and 15
 * characters long (IFNAMSIZ less the terminator). The alias settles collisions.
 */
export function deriveHostInterfaces(sandboxId: string, containerInterface: string): string[] {
  return Array.from({ length: CANDIDATES }, (_, attempt) => {
    const identity = `${sandboxId}/${containerInterface}${attempt === 0 ? "" : `#${attempt}`}`;
    return `moor${hash64(identity).toString(32).padStart(13, "0").slice(-11)}`;
  });
}

/** The name of the host's own interface on a network, for probes; 15 characters long at most. */
export const deriveProbeInterface = (bridge: string, vlan: number): string =>
  `mprb${hash64(bridge).toString(32).padStart(13, "0").slice(-6)}-${vlan}`;

/**
 * A fixed MAC of the host link, because udev replaces random ones. High, because a bridge adopts its ports' lowest
 * MAC.
 */
export function deriveHostMac(hostInterface: string): string {
  const bytes = hash64(hostInterface).toString(16).padStart(16, "0").slice(-10);
  return `fe:${bytes.match(/../g)?.join(":")}`;
}

/**
 * FNV-1a, 64 bits, mixed by MurmurHash3's finalizer. Not cryptographic: loading node:crypto costs milliseconds in
 * every call, and collisions are detected.
 */
function hash64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  hash = BigInt.asUintN(64, (hash ^ (hash >> 33n)) * 0xff51afd7ed558ccdn);
  hash = BigInt.asUintN(64, (hash ^ (hash >> 33n)) * 0xc4ceb9fe1a85ec53n);
  return hash ^ (hash >> 33n);
}
