import assert from "node:assert/strict";
import type { Mutation } from "../../../ipam-server/domain/model/mutation.ts";
import type { Store } from "../../../ipam-server/domain/store.ts";
import { addressesOf, attached, release, slotClaim } from "./builders.ts";
import type { Random } from "./random.ts";

interface Pod {
  uid: string;
  host: string;
  revision: number;
  /** Undefined until it is claimed. */
  slot?: number;
  epoch?: number;
}

const HOSTS = ["node-a", "node-b", "node-c"];

/**
 * Simulates a Deployment's claims and releases: pods start and end as its replicas, surge and unavailability allow;
 * their ADDs and DELs come late, repeated, and several in one batch. Checks every answer against the guarantees.
 */
export class Rollout {
  readonly application: string;
  readonly maxSurge: number;
  replicas: number;
  revision = 0;
  /** The most pods that were alive at one time. */
  mostAlive = 0;
  readonly #random: Random;
  readonly #pods = new Map<string, Pod>();
  /** Deleted in Kubernetes, and not released in the IPAM yet. */
  #ended: Pod[] = [];
  #serial = 0;

  constructor(application: string, replicas: number, maxSurge: number, random: Random) {
    this.application = application;
    this.replicas = replicas;
    this.maxSurge = maxSurge;
    this.#random = random;
  }

  /** All pods are of the present revision, have their slots, and none waits for its end. */
  get isDone(): boolean {
    const pods = [...this.#pods.values()];
    return (
      pods.length === this.replicas &&
      this.#ended.length === 0 &&
      pods.every(({ revision, slot }) => revision === this.revision && slot !== undefined)
    );
  }

  /** What this Deployment's nodes send next; `apply` takes the answers. */
  next(): Mutation[] {
    const items: Mutation[] = [];
    for (const { host, uid } of this.#ended) {
      // A node that is slow, and one that says it twice.
      for (let n = this.#random.pick([0, 0, 1, 1, 1, 2]); n > 0; n--) items.push(release(host, uid));
    }
    this.#scale();
    for (const pod of this.#pods.values()) {
      if (pod.slot === undefined ? this.#random.chance(0.7) : this.#random.chance(0.1)) items.push(this.#claim(pod));
    }
    return this.#random.chance(0.5) ? items : items.toReversed();
  }

  #scale(): void {
    const pods = [...this.#pods.values()];
    const old = pods.find(({ revision }) => revision !== this.revision);
    const ready = pods.filter(({ slot }) => slot !== undefined).length;
    const surplus = pods.length > this.replicas ? (old ?? pods.at(-1)) : undefined;
    // Without surge a pod goes before its successor comes; with it only once the successor is there.
    if (surplus && ready >= this.replicas) this.#end(surplus);
    else if (old && this.maxSurge === 0 && pods.length >= this.replicas) this.#end(old);
    else if (this.#pods.size + this.#ended.length < this.replicas + (old ? this.maxSurge : 0)) this.#start();
  }

  #start(): void {
    const uid = `${this.application}-pod-${this.#serial++}`;
    this.#pods.set(uid, { uid, host: this.#random.pick(HOSTS), revision: this.revision });
    this.mostAlive = Math.max(this.mostAlive, this.#pods.size + this.#ended.length);
  }

  #end(pod: Pod): void {
    this.#pods.delete(pod.uid);
    if (pod.slot !== undefined) this.#ended.push(pod);
  }

  #claim({ uid, host }: Pod): Mutation {
    return slotClaim(this.application, host, uid);
  }

  apply(items: readonly Mutation[], outcomes: Awaited<ReturnType<Store["commit"]>>): void {
    for (const [index, item] of items.entries()) {
      if (item.kind === "release") this.#ended = this.#ended.filter(({ uid }) => uid !== item.release.sandbox?.id);
      if (item.kind !== "claim") continue;
      const pod = this.#pods.get(item.claim.owner.uid);
      if (!pod) continue;
      const { port } = attached(outcomes[index]);
      assert.equal(port.name, `${this.application}/${port.slot}`);
      assert.equal(port.owner?.uid, pod.uid);
      if (pod.slot !== undefined) assert.deepEqual([port.slot, port.epoch], [pod.slot, pod.epoch], "a repeat moved");
      const other = [...this.#pods.values()].find(each => each !== pod && each.slot === port.slot);
      assert.equal(other, undefined, `slot ${port.slot} is ${other?.uid}'s, and was given to ${pod.uid}`);
      Object.assign(pod, { slot: port.slot, epoch: port.epoch });
    }
  }

  /** The addresses of all its slots, bound or not. */
  async addresses(store: Store): Promise<string[]> {
    const { ports } = await store.readPorts({ limit: 1000 });
    const mine = ports.filter(({ name }) => name.startsWith(`${this.application}/`));
    const bound = mine.filter(({ binding }) => binding).map(({ slot }) => slot);
    const held = [...this.#pods.values(), ...this.#ended].flatMap(({ slot }) => slot ?? []);
    assert.deepEqual(bound.sort(), held.sort(), "the slots that are bound are those that pods have");
    return mine.flatMap(port => addressesOf({ port }));
  }
}
