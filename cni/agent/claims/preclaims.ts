import type { Logger } from "pino";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import type { IpamClient } from "../../ipam-client.ts";
import type { Journal } from "../../journal/journal.ts";
import { describeError } from "../../spec/cni-error.ts";
import { buildUnusedRelease } from "../calls/build-release.ts";
import type { Leases } from "../leases/leases.ts";
import type { AgentMetrics } from "../metrics.ts";
import { needsPort } from "../pod/pod.ts";
import type { NodePod, PodChange, PodSource } from "../pod/pods.ts";
import type { HeldPorts } from "../ports/held-ports.ts";
import type { ClaimBuilder } from "./claim-builder.ts";

export interface PreclaimsOptions {
  nodeName: string;
  pods: Pick<PodSource, "subscribe">;
  claims: Pick<ClaimBuilder, "derivePreclaim">;
  ipam: Pick<IpamClient, "claim" | "release">;
  held: HeldPorts;
  leases: Pick<Leases, "reserve" | "cancelReservation" | "observe">;
  journal: Journal;
  metrics: Pick<AgentMetrics, "preclaims">;
  log: Logger;
  /** How long pods are gathered into one batch. Default 5. */
  gatherMs?: number;
}

const RELEASE_PATIENCE = { timeoutMs: 3000, repeats: 1 };

/**
 * Claims the first port of each pod as soon as it is scheduled to this node, so that its ADD finds the port waiting.
 * Failing is no error: ADD claims by itself, and then says what is wrong.
 *
 * A port claimed ahead belongs to its pod until ADD brings a sandbox; a pod that is gone before that gives it back.
 */
export class Preclaims implements AsyncDisposable {
  readonly #options: PreclaimsOptions;
  readonly #subscription: Disposable;
  /** UIDs of the pods that are here and whose port was claimed or tried. */
  readonly #tried = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  #gathered: NodePod[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PreclaimsOptions) {
    this.#options = options;
    this.#subscription = options.pods.subscribe(change => this.#take(change));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription[Symbol.dispose]();
    clearTimeout(this.#timer);
    await Promise.all(this.#running);
  }

  #take({ type, pod }: PodChange): void {
    if (type === "gone") {
      this.#tried.delete(pod.uid);
      this.#options.leases.cancelReservation(pod.uid);
      this.#run(this.#giveBackUnused(pod.uid));
    } else if (shouldPreclaim(pod, this.#options.nodeName) && !this.#tried.has(pod.uid)) {
      this.#tried.add(pod.uid);
      this.#gathered.push(pod);
      this.#timer ??= setTimeout(() => this.#claimGathered(), this.#options.gatherMs ?? 5);
    }
  }

  #claimGathered(): void {
    this.#timer = undefined;
    for (const pod of this.#gathered.splice(0)) this.#run(this.#claim(pod));
  }

  #run(work: Promise<void>): void {
    const tracked = work.finally(() => this.#running.delete(tracked));
    this.#running.add(tracked);
  }

  async #claim(pod: NodePod): Promise<void> {
    const { claims, ipam, held, leases, metrics, log } = this.#options;
    try {
      const claim = await claims.derivePreclaim(pod);
      // An ADD that came first has claimed already.
      if (held.find(pod.uid, DEFAULT_INTERFACE)?.attachment !== undefined || !this.#tried.has(pod.uid)) return;
      // Its ADD finds an address here: a port of its own would have to be given back.
      if (leases.reserve(claim)) return;
      using drops = held.observeDrops(pod.uid, DEFAULT_INTERFACE);
      const attachment = await ipam.claim(claim);
      metrics.preclaims.inc({ outcome: "claimed" });
      leases.observe(claim, attachment);
      const { port } = attachment;
      // An answer that a DEL overtook may be of a binding that the DEL ended: nothing may be built on it.
      if (!drops.wasDropped && held.find(pod.uid, DEFAULT_INTERFACE)?.attachment === undefined) {
        const sandboxId = port.binding?.sandbox?.id;
        held.put(pod.uid, DEFAULT_INTERFACE, {
          port,
          attachment,
          claim,
          ...(sandboxId !== undefined && { sandboxId }),
        });
      }
      log.debug({ pod: `${pod.namespace}/${pod.name}`, port: port.name, epoch: port.epoch }, "claimed ahead");
      if (!this.#tried.has(pod.uid)) await this.#giveBackUnused(pod.uid);
    } catch (error) {
      metrics.preclaims.inc({ outcome: "failed" });
      log.debug({ pod: `${pod.namespace}/${pod.name}`, reason: describeError(error) }, "not claimed ahead");
    }
  }

  /** The pod is gone: what was claimed for it and never met a sandbox goes back. */
  async #giveBackUnused(ownerUid: string): Promise<void> {
    const { held, ipam, journal, nodeName, metrics, log } = this.#options;
    const found = held.find(ownerUid, DEFAULT_INTERFACE);
    if (found === undefined || found.sandboxId !== undefined) return;
    held.drop(ownerUid, DEFAULT_INTERFACE);
    metrics.preclaims.inc({ outcome: "released" });
    const release = buildUnusedRelease(found.port.name, nodeName, ownerUid);
    try {
      const [result] = await ipam.release([release], RELEASE_PATIENCE);
      if (result !== undefined && "problem" in result) throw new Error(result.problem.detail);
    } catch (error) {
      log.warn({ port: release.name, reason: describeError(error) }, "the release of an unused port is journaled");
      await journal
        .append({ kind: "release", release })
        .catch(cause =>
          log.error({ err: cause, port: release.name }, "an unused port stays bound until the next sweep"),
        );
    }
  }
}

/** Only a pod whose first container is yet to run: one that runs has its port. */
export function shouldPreclaim(pod: NodePod, nodeName: string): boolean {
  return pod.waiting && needsPort(pod, nodeName);
}
