import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { DatapathError } from "../datapath-error.ts";
import type { Libc } from "./libc.ts";

const CLONE_NEWNET = 0x40000000;

/** A network namespace held open by its file descriptor, so that it cannot be replaced under its path meanwhile. */
export interface Netns extends Disposable {
  readonly path: string;
  /** For IFLA_NET_NS_FD. */
  readonly fd: number;
  /**
   * Runs `work` with the calling thread inside the namespace. `work` must be synchronous: anything that runs later, or on
   * another thread, runs outside. It may open sockets, which stay in the namespace, and write sysctls.
   */
  run<T>(work: () => T): T;
}

/**
 * Opens the namespace at `path` (CNI_NETNS). Rejects with step `namespace` if there is none, and if it is the host's own:
 * plugging that would take the node's interfaces for a pod's.
 */
export function openNetns(libc: Libc, path: string): Netns {
  const fd = openFile(path);
  try {
    const home = openFile("/proc/thread-self/ns/net");
    try {
      const [here, there] = [fstatSync(home), fstatSync(fd)];
      if (here.dev === there.dev && here.ino === there.ino) {
        throw new DatapathError("netns", `${path} is the host's own network namespace, not a sandbox's`);
      }
      enterAndReturn(libc, path, fd, home, () => undefined);
    } finally {
      closeSync(home);
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return {
    path,
    fd,
    run: work => {
      const home = openFile("/proc/thread-self/ns/net");
      try {
        return enterAndReturn(libc, path, fd, home, work);
      } finally {
        closeSync(home);
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

function enterAndReturn<T>(libc: Libc, path: string, fd: number, home: number, work: () => T): T {
  if (libc.setns(fd, CLONE_NEWNET) !== 0) {
    const why = libc.errorName();
    const hint = why === "EINVAL" ? `${path} is not a network namespace` : `cannot enter ${path}: ${why}`;
    throw new DatapathError("netns", why === "EPERM" ? `${hint}; CAP_SYS_ADMIN is needed` : hint);
  }
  try {
    return work();
  } finally {
    // A thread left in a pod's namespace would plug the next pod's links into this one: nothing may run on it again.
    if (libc.setns(home, CLONE_NEWNET) !== 0) giveUp(libc, path);
  }
}

function giveUp(libc: Libc, path: string): never {
  writeSync(
    2,
    `mooring: cannot return from the network namespace ${path}: ${libc.errorName()}; giving up
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
