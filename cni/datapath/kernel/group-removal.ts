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
/** Links that are taken down at about the same time share one deletion; and OVS lets go of them before they vanish. */
const GATHER_MS = 10;

const [writeTo, readFrom, closeFile] = [promisify(write), promisify(read), promisify(close)];

/**
 * For an agent: takes links down and into the group of those to be deleted, and deletes the group as a whole on another
 * thread. So one wait serves many links, and nobody else's work stands still meanwhile. Should the agent end before, the
 * next deletion takes along what is left in the group, unless the sandbox's end has done so already.
 */
export class GroupRemoval implements LinkRemoval {
  readonly #openHost: () => Promise<RouteSocket>;
  readonly #ending = new AbortController();
  /** The deletion that will take along what is silenced now. */
  #next: Promise<void> | undefined;
  #current: Promise<void> | undefined;
  #fd: number | undefined;

  constructor(openHost: () => Promise<RouteSocket>) {
    this.#openHost = openHost;
  }

  async quiesce(link: Link, deadline: Deadline): Promise<void> {
    await markForDeletion(await this.#openHost(), link.index, deadline);
    // Whoever needs the outcome waits for the deletion as well; a later one takes along what this one left.
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
    // The process may end: what is left is silent.
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

  /** The kernel carries the request out inside of `write`, which Node runs on a thread of its pool. */
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
