import { DatapathError } from "../datapath-error.ts";

/** C functions that Node lacks. All are synchronous and act on the calling thread. */
export interface Libc {
  setns(fd: number, kind: number): number;
  socket(domain: number, type: number, protocol: number): number;
  ioctl(fd: number, request: number, argument: unknown): number;
  bind(fd: number, address: Buffer, length: number): number;
  /** Returns the number of bytes sent. */
  send(fd: number, bytes: Buffer, length: number, flags: number): number;
  /** Fills `buffer` and returns the number of bytes received. */
  recv(fd: number, buffer: Buffer, length: number, flags: number): number;
  close(fd: number): number;
  /** Ends the process without clean-up. */
  abort(): never;
  /** The errno name, such as `EINVAL`, of the last call that returned -1. */
  errorName(): string;
}

let loaded: Promise<Libc> | undefined;

/** Loads libc through koffi at the first call, because only entering a netns needs it. */
export function loadLibc(): Promise<Libc> {
  loaded ??= bindLibc();
  return loaded;
}

async function bindLibc(): Promise<Libc> {
  try {
    const { default: koffi } = await import("koffi");
    const lib = koffi.load("libc.so.6");
    const names = new Map(Object.entries(koffi.os.errno).map(([name, number]) => [number, name]));
    koffi.struct("mooring_ethtool_value", { cmd: "uint32_t", data: "uint32_t" });
    koffi.struct("mooring_ifreq", {
      ifr_name: koffi.array("char", 16),
      ifr_data: "mooring_ethtool_value *",
      // struct ifreq is 40 bytes on 64-bit Linux, and the kernel copies all of it.
      padding: koffi.array("uint8_t", 16),
    });
    return {
      setns: lib.func("int setns(int fd, int nstype)"),
      socket: lib.func("int socket(int domain, int type, int protocol)"),
      ioctl: lib.func("int ioctl(int fd, unsigned long request, _Inout_ mooring_ifreq *argument)"),
      bind: lib.func("int bind(int fd, const void *address, uint32_t length)"),
      send: lib.func("int64_t send(int fd, const void *bytes, size_t length, int flags)"),
      recv: lib.func("int64_t recv(int fd, _Out_ void *buffer, size_t length, int flags)"),
      close: lib.func("int close(int fd)"),
      abort: lib.func("void abort()") as unknown as () => never,
      errorName: () => names.get(koffi.errno()) ?? `errno ${koffi.errno()}`,
    };
  } catch (error) {
    throw new DatapathError("netns", "cannot load libc, which is required to enter a network namespace", error);
  }
}
