import type { Claim, Port, PortAttachment } from "../../../ipam-server/contract/index.ts";

/** A binding of this node as far as the agent knows. */
export interface HeldPort {
  port: Port;
  /** All that plugging takes; absent for bindings only read about. */
  attachment?: PortAttachment;
  /** The claim that brought it. */
  claim?: Claim;
  /** The sandbox it is plugged into, or about to be; the IPAM may not know it yet. */
  sandboxId?: string;
}

export interface DropObserver {
  wasDropped: boolean;
}

/**
 * What this node holds, by owner and interface: what the IPAM last said, kept as long as nothing says otherwise. Good for
 * finding a port quickly; what takes an address away asks the IPAM.
 */
export class HeldPorts {
  readonly #byOwner = new Map<string, HeldPort>();
  readonly #observers = new Map<string, Set<DropObserver>>();
  /** Whether all that the IPAM had for this node was read once: before, who is not found here may hold a port all the same. */
  isSynced = false;

  find(ownerUid: string, ifname: string): HeldPort | undefined {
    return this.#byOwner.get(keyOf(ownerUid, ifname));
  }

  put(ownerUid: string, ifname: string, held: HeldPort): void {
    this.#byOwner.set(keyOf(ownerUid, ifname), held);
  }

  drop(ownerUid: string, ifname: string): void {
    this.#drop(keyOf(ownerUid, ifname));
  }

  /** Tells, until disposed of, whether the owner's port was dropped meanwhile: then what was asked before is old news. */
  observeDrops(ownerUid: string, ifname: string): DropObserver & Disposable {
    const key = keyOf(ownerUid, ifname);
    const observers = this.#observers.get(key) ?? new Set();
    this.#observers.set(key, observers);
    const observer = {
      wasDropped: false,
      [Symbol.dispose]: () => {
        observers.delete(observer);
        if (observers.size === 0) this.#observers.delete(key);
      },
    };
    observers.add(observer);
    return observer;
  }

  #drop(key: string): void {
    this.#byOwner.delete(key);
    for (const observer of this.#observers.get(key) ?? []) observer.wasDropped = true;
  }

  /** The binding of this port has ended or moved: true if it was held. */
  dropPort(portName: string): boolean {
    return this.dropWhere(({ port }) => port.name === portName);
  }

  /** True if any was dropped. */
  dropWhere(isOver: (held: HeldPort) => boolean): boolean {
    let wasAny = false;
    // Asked for each event of the IPAM, all nodes': copies nothing. A map may lose entries while it is walked.
    for (const [key, held] of this.#byOwner) {
      if (!isOver(held)) continue;
      this.#drop(key);
      wasAny = true;
    }
    return wasAny;
  }

  /** What this sandbox's interface used is no longer held for anybody. */
  dropSandbox(sandboxId: string, ifname: string): void {
    for (const [key, held] of this.#byOwner) {
      if (held.sandboxId === sandboxId && key.endsWith(`/${ifname}`)) this.#drop(key);
    }
  }

  values(): IterableIterator<HeldPort> {
    return this.#byOwner.values();
  }

  get size(): number {
    return this.#byOwner.size;
  }
}

const keyOf = (ownerUid: string, ifname: string) => `${ownerUid}/${ifname}`;
