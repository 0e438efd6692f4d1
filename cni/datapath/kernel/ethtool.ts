import { DatapathError } from "../datapath-error.ts";
import type { Libc } from "./libc.ts";

// linux/sockios.h, linux/ethtool.h
const SIOCETHTOOL = 0x8946;
const ETHTOOL_STXCSUM = 0x17;
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;

/**
 * Disables transmit checksum offload in the calling thread's netns; TSO depends on it and is disabled too. A veth leaves
 * checksums unfinished, and the userspace OVS datapath forwards such frames as they are, so that pods drop them.
 */
export function disableTxChecksumOffload(libc: Libc, name: string): void {
  const fd = libc.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);
  if (fd < 0)
    throw new DatapathError("offload", `cannot open a socket to set offloads of ${name}: ${libc.errorName()}`);
  try {
    const request = { ifr_name: name, ifr_data: { cmd: ETHTOOL_STXCSUM, data: 0 }, padding: new Uint8Array(16) };
    if (libc.ioctl(fd, SIOCETHTOOL, request) !== 0) {
      throw new DatapathError("offload", `cannot switch off transmit checksum offload of ${name}: ${libc.errorName()}`);
    }
  } finally {
    libc.close(fd);
  }
}
