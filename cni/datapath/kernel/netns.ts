import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { DatapathError } from "../datapath-error.ts";
import type { Libc } from "./libc.ts";

const CLONE_NEWNET = 0x40000000;

/** A netns held open by its file descriptor, so that it cannot be replaced under its path. */
export interface Netns extends Disposable {
  readonly path: string;
  /** For IFLA_NET_NS_FD. */
  readonly fd: number;
  /**
   * Runs `work` with the calling thread inside the netns. `work` must be synchronous: later work runs outside. It may
   * open sockets, which stay in the netns, and write sysctls.
   */
  run<T>(work: () => T): T;
}

/**
 * Opens the netns at `path` (CNI_NETNS). Throws with step `netns` if there is none, or if it is the host's own, whose
 * interfaces must not be taken for a pod's.
 */
export function openNetns(libc: Libc, path: string): Netns {
  const fd = openFile(path);
  try {
    const hostNs = openFile("/proc/thread-self/ns/net");
    try {
      const [here, there] = [fstatSync(hostNs), fstatSync(fd)];
      if (here.dev === there.dev && here.ino === there.ino) {
        throw new DatapathError("netns", `${path} is the host's own network namespace, not a sandbox's`);
      }
      enterAndReturn(libc, path, fd, hostNs, () => undefined);
    } finally {
      closeSync(hostNs);
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return {
    path,
    fd,
    run: work => {
      const hostNs = openFile("/proc/thread-self/ns/net");
      try {
        return enterAndReturn(libc, path, fd, hostNs, work);
      } finally {
        closeSync(hostNs);
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

function enterAndReturn<T>(libc: Libc, path: string, fd: number, hostNs: number, work: () => T): T {
  if (libc.setns(fd, CLONE_NEWNET) !== 0) {
    const why = libc.errorName();
    const hint = why === "EINVAL" ? `${path} is not a network namespace` : `cannot enter ${path}: ${why}`;
    throw new DatapathError("netns", why === "EPERM" ? `${hint}; CAP_SYS_ADMIN is needed` : hint);
  }
  try {
    return work();
  } finally {
    // A thread left in a pod's netns would plug later pods' links into it, so the process must end.
    if (libc.setns(hostNs, CLONE_NEWNET) !== 0) abortProcess(libc, path);
  }
}

function abortProcess(libc: Libc, path: string): never {
  writeSync(
    2,
    `mooring: cannot return from the network namespace ${path}: ${libc.errorName()}; aborting
`,
  );
  return libc.abort();
}

function openFile(path: string): number {
  try {
    // Non-blocking, so that a FIFO under this path cannot hang the thread.
    return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const message =
      code === "ENOENT"
        ? `there is no network namespace at ${path}`
        : `cannot open the network namespace ${path}: ${code}`;
    throw new DatapathError("netns", message, error);
  }
}
