import { DatapathError } from "../datapath-error.ts";
import type { Libc } from "./libc.ts";

// linux/sockios.h, linux/ethtool.h
const SIOCETHTOOL = 0x8946;
const ETHTOOL_STXCSUM = 0x17;
const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;

/**
 * Makes the kernel fill in checksums before a packet leaves this interface, in the namespace of the calling thread.
 *
 * A veth promises to offload checksums because its peer's kernel never looks at them. The userspace OVS datapath takes
 * frames off the peer as they are: TCP with unfinished checksums arrives at the other pod and is dropped. Segmentation
 * offload (TSO) depends on this one and goes off with it.
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
