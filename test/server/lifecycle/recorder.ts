import assert from "node:assert/strict";
import type { Claim, FixedIp, Port } from "../../../ipam-server/contract/index.ts";
import { type Client, claimOf, releaseOf } from "../client.ts";

/** One client's record of its pods: the last acknowledged state, and the requests without an answer. */
interface PodRecord {
  life: number;
  bound?: { claim: Claim; ips: FixedIp[]; epoch: number };
  released?: boolean;
  /** A request was sent and no answer came: it may have happened or not. */
  unknown?: "claim" | "release";
}

/** A client that claims and releases its own pods one after the other and remembers every acknowledged result. */
export class Recorder {
  readonly #pods = new Map<string, PodRecord>();
  readonly #name: string;
  readonly #count: number;
  readonly #random: () => number;

  constructor(name: string, count: number, random: () => number) {
    this.#name = name;
    this.#count = count;
    this.#random = random;
  }

  /** Works until the server is gone (unless that is a failure) or the signal aborts; calls `onAck` for each answer. */
  async work(client: Client, signal: AbortSignal, onAck: () => void, failures?: "report failures"): Promise<void> {
    while (!signal.aborted) {
      const pod = `${this.#name}-${Math.floor(this.#random() * this.#count)}`;
      const record = this.#pods.get(pod) ?? { life: 0 };
      this.#pods.set(pod, record);
      const releases = record.bound !== undefined && record.released !== true && this.#random() < 0.5;
      try {
        if (releases) await this.#release(client, record);
        else await this.#claim(client, pod, record);
      } catch (error) {
        // A refused or broken connection is what a crash looks like; an answer that is wrong is not.
        if (failures !== undefined || error instanceof assert.AssertionError) throw error;
        return;
      }
      onAck();
    }
  }

  /** Asserts that every acknowledged change exists, and each other one either completely or not at all. */
  verify(ports: ReadonlyMap<string, Port>): number {
    for (const [pod, record] of this.#pods) {
      const port = ports.get(`c1/default/${pod}`);
      this.#verifyPod(pod, record, port);
      // From here on what is there is known.
      if (record.unknown && port) {
        const claim = claimOf(pod, record.life);
        record.bound = { claim: record.bound?.claim ?? claim, ips: port.fixedIps, epoch: port.epoch };
        if (port.binding?.sandbox?.id === claim.sandbox?.id) record.bound.claim = claim;
        record.released = port.binding === undefined;
      }
      delete record.unknown;
    }
    return this.#pods.size;
  }

  #verifyPod(pod: string, { bound, released, unknown }: PodRecord, port: Port | undefined): void {
    if (bound === undefined) return;
    assert.ok(port, `${pod}: acknowledged and lost`);
    // A sticky port keeps its addresses through all later changes.
    assert.deepEqual(port.fixedIps, bound.ips, `${pod}: its addresses changed`);
    if (unknown === "claim") return;
    assert.equal(port.epoch, bound.epoch, `${pod}: its epoch changed`);
    if (unknown === "release") return;
    assert.equal(port.binding === undefined, released === true, `${pod}: released is ${released}`);
  }

  async #claim(client: Client, pod: string, record: PodRecord): Promise<void> {
    record.life++;
    record.unknown = "claim";
    const claim = claimOf(pod, record.life);
    const { port } = await client.claim(claim);
    delete record.unknown;
    assert.ok(port.epoch > (record.bound?.epoch ?? 0), `${pod}: a new binding did not raise the epoch`);
    if (record.bound) assert.deepEqual(port.fixedIps, record.bound.ips, `${pod}: drifted to other addresses`);
    record.bound = { claim, ips: port.fixedIps, epoch: port.epoch };
    record.released = false;
  }

  async #release(client: Client, record: PodRecord): Promise<void> {
    assert.ok(record.bound);
    record.unknown = "release";
    const result = await client.release(releaseOf(record.bound.claim));
    if (!result || "problem" in result) throw new Error("not released");
    delete record.unknown;
    record.released = true;
  }
}

/** A seeded generator of numbers in [0, 1), so that a failing run can be repeated (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
