import { close, read, write } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { DatapathError } from "../datapath-error.ts";
import type { Deadline } from "../deadline.ts";
import { encodeGroupDeletion, type Link, markForDeletion, readOutcome } from "../netlink/link.ts";
import { NetlinkError, type RouteSocket } from "../netlink/socket.ts";
import { loadLibc } from "./libc.ts";
import type { LinkRemoval } from "./link-removal.ts";

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
/** Collects links for one deletion, and lets OVS release them before they disappear. */
const GATHER_MS = 10;

const [writeTo, readFrom, closeFile] = [promisify(write), promisify(read), promisify(close)];

/**
 * For the agent: takes links down, moves them into one group and deletes the group on another thread. One wait serves
 * many links and blocks no other work. A later deletion also deletes links left by an agent that died.
 */
export class GroupRemoval implements LinkRemoval {
  readonly #openHost: () => Promise<RouteSocket>;
  readonly #ending = new AbortController();
  /** The scheduled deletion, which includes the links quiesced until it begins. */
  #next: Promise<void> | undefined;
  #current: Promise<void> | undefined;
  #fd: number | undefined;

  constructor(openHost: () => Promise<RouteSocket>) {
    this.#openHost = openHost;
  }

  async quiesce(link: Link, deadline: Deadline): Promise<void> {
    await markForDeletion(await this.#openHost(), link.index, deadline);
    // Callers that need the outcome wait for the deletion; a later one deletes what this one leaves.
    this.#schedule().catch(() => undefined);
  }

  async remove(link: Link, deadline: Deadline): Promise<void> {
    await markForDeletion(await this.#openHost(), link.index, deadline);
    await deadline.race(this.#schedule(), () => late(deadline));
  }

  async finish(deadline: Deadline): Promise<boolean> {
    const running = [this.#current, this.#next].filter(each => each !== undefined);
    await deadline.race(Promise.allSettled(running), () => late(deadline));
    return running.length > 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await Promise.allSettled([this.#current, this.#next]);
    if (this.#fd !== undefined) await closeFile(this.#fd);
    this.#fd = undefined;
  }

  #schedule(): Promise<void> {
    this.#next ??= this.#deleteNext();
    return this.#next;
  }

  async #deleteNext(): Promise<void> {
    // Does not keep the process alive: the remaining links are down.
    await sleep(GATHER_MS, undefined, { ref: false, signal: this.#ending.signal }).catch(() => undefined);
    await this.#current?.catch(() => undefined);
    this.#current = this.#next;
    this.#next = undefined;
    try {
      await this.#deleteGroup();
    } finally {
      this.#current = undefined;
    }
  }

  /** The kernel deletes the links within `write`, which Node runs on a thread of its pool. */
  async #deleteGroup(): Promise<void> {
    const fd = await this.#open();
    await writeTo(fd, encodeGroupDeletion());
    const { buffer, bytesRead } = await readFrom(fd, Buffer.alloc(4096), 0, 4096, null);
    const errno = readOutcome(buffer.subarray(0, bytesRead));
    if (errno !== undefined && errno !== "ENODEV") throw new NetlinkError(errno);
  }

  async #open(): Promise<number> {
    if (this.#fd !== undefined) return this.#fd;
    const libc = await loadLibc();
    const fd = libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) throw new DatapathError("unplug", `cannot open a netlink socket: ${libc.errorName()}`);
    this.#fd = fd;
    return fd;
  }
}

function late({ timeoutMs }: Deadline): DatapathError {
  return new DatapathError("unplug", `the kernel has not deleted the link within ${timeoutMs} ms`);
}
