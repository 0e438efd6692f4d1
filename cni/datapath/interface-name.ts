/** The host link's `ifalias`, by which a link is known as Mooring's even when OVS has forgotten it. */
export function deriveAlias(sandboxId: string, containerInterface: string): string {
  return `mooring:${sandboxId}/${containerInterface}`;
}

/** What `deriveAlias` was given; undefined for an alias that is not Mooring's. */
export function parseAlias(alias: string): { sandboxId: string; containerInterface: string } | undefined {
  const [, sandboxId, containerInterface] = /^mooring:(.+)\/([^/]+)$/.exec(alias) ?? [];
  return sandboxId === undefined || containerInterface === undefined ? undefined : { sandboxId, containerInterface };
}

/** How many names are tried before a collision is reported; each further one is as unlikely as the first. */
const CANDIDATES = 4;

/**
 * Names for the host side of an attachment, best first: stable for a sandbox and interface, so that DEL and a repeated
 * ADD find it, and 15 characters long (IFNAMSIZ less the terminator). Names may collide; the owner is told by the alias.
 */
export function deriveHostInterfaces(sandboxId: string, containerInterface: string): string[] {
  return Array.from({ length: CANDIDATES }, (_, attempt) => {
    const identity = `${sandboxId}/${containerInterface}${attempt === 0 ? "" : `#${attempt}`}`;
    return `moor${hash64(identity).toString(32).padStart(13, "0").slice(-11)}`;
  });
}

/**
 * A MAC for the host side. Set by us rather than at random because udev renews random ones behind our back; and high,
 * because an OVS bridge takes the lowest MAC among its ports as its own.
 */
export function deriveHostMac(hostInterface: string): string {
  const bytes = hash64(hostInterface).toString(16).padStart(16, "0").slice(-10);
  return `fe:${bytes.match(/../g)?.join(":")}`;
}

/**
 * FNV-1a, 64 bits, then mixed (MurmurHash3's finaliser) because FNV's high bits follow the last characters too closely.
 * Not a cryptographic hash: loading node:crypto costs milliseconds at every call of the plugin, and collisions are checked.
 */
function hash64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  hash = BigInt.asUintN(64, (hash ^ (hash >> 33n)) * 0xff51afd7ed558ccdn);
  hash = BigInt.asUintN(64, (hash ^ (hash >> 33n)) * 0xc4ceb9fe1a85ec53n);
  return hash ^ (hash >> 33n);
}
