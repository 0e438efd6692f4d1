import { DatapathError } from "../datapath-error.ts";
import type { Libc } from "../kernel/libc.ts";

// packet(7), linux/if_packet.h
const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const MSG_DONTWAIT = 0x40;
const SOCKADDR_LL_BYTES = 20;
const MAX_FRAME_BYTES = 2048;

/** Sends and receives frames of one type on one interface of the calling thread's netns. Disposing closes it. */
export class PacketSocket implements Disposable {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(MAX_FRAME_BYTES);

  constructor(libc: Libc, linkIndex: number, ethertype: number) {
    this.#libc = libc;
    // Protocol 0 receives nothing before `bind` names interface and type.
    this.#fd = libc.socket(AF_PACKET, SOCK_RAW_CLOEXEC, 0);
    if (this.#fd < 0)
      throw new DatapathError("probe", `cannot open a packet socket: ${libc.errorName()} (CAP_NET_RAW)`);
    const address = Buffer.alloc(SOCKADDR_LL_BYTES);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(ethertype, 2);
    address.writeInt32LE(linkIndex, 4);
    if (libc.bind(this.#fd, address, address.length) === 0) return;
    const reason = libc.errorName();
    libc.close(this.#fd);
    throw new DatapathError("probe", `cannot bind a packet socket to interface ${linkIndex}: ${reason}`);
  }

  send(frame: Buffer): void {
    if (this.#libc.send(this.#fd, frame, frame.length, MSG_DONTWAIT) === frame.length) return;
    throw new DatapathError("probe", `cannot send a probe: ${this.#libc.errorName()}`);
  }

  /** Yields the frames that have arrived. A frame is valid until the next one. */
  *receive(): Generator<Buffer> {
    for (;;) {
      const length = this.#libc.recv(this.#fd, this.#buffer, this.#buffer.length, MSG_DONTWAIT);
      if (length < 0) return;
      yield this.#buffer.subarray(0, length);
    }
  }

  [Symbol.dispose](): void {
    this.#libc.close(this.#fd);
  }
}
