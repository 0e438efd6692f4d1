import { getSystemErrorName } from "node:util";
import type { RawNetlinkSocket } from "netlink/dist/raw.js";
import { Semaphore } from "../../../ipam-server/process/semaphore.ts";
import type { Deadline } from "../deadline.ts";
import type { Netns } from "../kernel/netns.ts";
import {
  decodeMessages,
  encodeMessage,
  type NetlinkMessage,
  NLM_F_ACK,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
} from "./message.ts";

const NETLINK_ROUTE = 0;
/**
 * The kernel puts each answer into the socket's receive buffer while the request is sent, and the addon ends the process
 * when that overflows (ENOBUFS comes as a poll error, which it cannot report). Eight of the longest fit many times.
 */
const MAX_UNANSWERED = 8;

/** The kernel's error: `code` is the errno name, such as `EEXIST`. */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  readonly code: string;

  constructor(code: string, message = `the kernel answered ${code}`) {
    super(message);
    this.code = code;
  }
}

interface Pending {
  replies: NetlinkMessage[];
  resolve(replies: NetlinkMessage[]): void;
  reject(error: Error): void;
}

/**
 * An rtnetlink socket: matches answers to requests by sequence number.
 */
export class RouteSocket implements AsyncDisposable {
  readonly #raw: RawNetlinkSocket;
  readonly #pending = new Map<number, Pending>();
  readonly #port: number;
  /** Callers wait in order of arrival; each earlier one has a deadline. */
  readonly #semaphore = new Semaphore(MAX_UNANSWERED);
  #seq = 0;

  private constructor(raw: RawNetlinkSocket) {
    this.#raw = raw;
    this.#port = raw.address().port >>> 0;
    raw.on("message", (bytes: Buffer) => this.#receive(bytes));
    raw.on("error", (error: Error) => this.#fail(error));
  }

  /**
   * Opens the socket in `namespace`, or in the host's own. Only the transport of the netlink package is loaded: its
   * generated rtnetlink types cost more at start than all else this plugin does.
   */
  static async open(netns?: Netns): Promise<RouteSocket> {
    const open = await RouteSocket.load();
    return netns === undefined ? open() : netns.run(open);
  }

  /** What opens a socket where it is called: for those who have more to do in a namespace than that. */
  static async load(): Promise<() => RouteSocket> {
    const { RawNetlinkSocket } = await import("netlink/dist/raw.js");
    // Its type asks for the buffer sizes; 0 leaves the kernel's defaults.
    const options = { localGroups: 0, recvBufferSize: 0, sendBufferSize: 0 };
    return () => new RouteSocket(new RawNetlinkSocket(NETLINK_ROUTE, options));
  }

  /** Asks for a change or for one thing. Rejects with NetlinkError. */
  request(type: number, flags: number, payload: Buffer[], deadline: Deadline): Promise<NetlinkMessage[]> {
    return this.#send(type, flags | NLM_F_REQUEST | NLM_F_ACK, payload, deadline);
  }

  /** Asks for all things of a kind. One dump at a time: the kernel refuses a second one on the same socket. */
  dump(type: number, payload: Buffer[], deadline: Deadline): Promise<NetlinkMessage[]> {
    return this.#send(type, NLM_F_REQUEST | NLM_F_DUMP, payload, deadline);
  }

  async #send(type: number, flags: number, payload: Buffer[], deadline: Deadline): Promise<NetlinkMessage[]> {
    await this.#semaphore.acquire();
    const seq = ++this.#seq;
    const { promise, resolve, reject } = Promise.withResolvers<NetlinkMessage[]>();
    this.#pending.set(seq, { replies: [], resolve, reject });
    try {
      this.#raw.send(
        encodeMessage({ type, flags, seq, port: 0, payload: Buffer.concat(payload) }),
        undefined,
        error => {
          if (error) reject(error);
        },
      );
      return await deadline.race(promise, () => new NetlinkError("ETIMEDOUT", "the kernel did not answer in time"));
    } finally {
      this.#pending.delete(seq);
      this.#semaphore.release();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Not in the turn of a reply: the addon is still reading from the descriptor that this closes.
    await new Promise(resolve => setImmediate(resolve));
    this.#raw.close();
  }

  #receive(bytes: Buffer): void {
    let messages: NetlinkMessage[];
    try {
      messages = decodeMessages(bytes);
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    for (const message of messages) {
      const pending = message.port === this.#port ? this.#pending.get(message.seq) : undefined;
      if (pending !== undefined) settle(pending, message);
    }
  }

  #fail(error: Error): void {
    for (const pending of this.#pending.values()) pending.reject(error);
  }
}

function settle(pending: Pending, message: NetlinkMessage): void {
  if (message.type === NLMSG_ERROR) {
    const errno = message.payload.readInt32LE(0);
    if (errno === 0) pending.resolve(pending.replies);
    else pending.reject(new NetlinkError(getSystemErrorName(errno)));
  } else if (message.type === NLMSG_DONE) {
    pending.resolve(pending.replies);
  } else {
    pending.replies.push(message);
  }
}
