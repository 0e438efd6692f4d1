import type { Claim, Port, PortAttachment } from "../../../ipam-server/contract/index.ts";

/** A binding of this node, as cached by the agent. */
interface HeldPort {
  port: Port;
  /** Absent if the binding was loaded from the IPAM and not claimed by this process. */
  attachment?: PortAttachment;
  /** The claim that created the binding. */
  claim?: Claim;
  /** The sandbox it is or will be plugged into. The IPAM may not have it yet. */
  sandboxId?: string;
}

interface DropObserver {
  wasDropped: boolean;
}

/**
 * Cache of this node's bindings by owner and interface, as the IPAM last reported them. ADD uses it to find a port; nothing
 * that releases an address relies on it.
 */
export class HeldPorts {
  readonly #byOwner = new Map<string, HeldPort>();
  readonly #observers = new Map<string, Set<DropObserver>>();
  /** True once this node's bindings were loaded. Until then a miss proves nothing. */
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

  /** Records until disposal whether the owner's port was dropped, which makes an answer requested before it stale. */
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

  /** Call it when the port's binding has ended or moved. Returns true if it was held. */
  dropPort(portName: string): boolean {
    return this.dropWhere(({ port }) => port.name === portName);
  }

  /** Returns true if any was dropped. */
  dropWhere(isOver: (held: HeldPort) => boolean): boolean {
    let wasAny = false;
    // Called for each event of the IPAM, so that it copies nothing. Deleting while iterating over a Map is defined.
    for (const [key, held] of this.#byOwner) {
      if (!isOver(held)) continue;
      this.#drop(key);
      wasAny = true;
    }
    return wasAny;
  }

  /** Drops the ports of this sandbox's interface. */
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
