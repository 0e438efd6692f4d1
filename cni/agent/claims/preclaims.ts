import type { Logger } from "pino";
import type { IpamClient } from "../../../ipam-server/client/client.ts";
import { RELEASE_POLICY } from "../../../ipam-server/client/retry-policy.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import type { Journal } from "../../journal/journal.ts";
import { describeError } from "../../spec/cni-error.ts";
import { findBinding } from "../../verbs/attachment.ts";
import { buildUnusedRelease } from "../calls/build-release.ts";
import type { Leases } from "../leases/leases.ts";
import type { AgentMetrics } from "../metrics.ts";
import { needsPort } from "../pod/pod.ts";
import type { NodePod, PodChange, PodSource } from "../pod/pods.ts";
import type { HeldPorts } from "../ports/held-ports.ts";
import type { AddressProbes } from "./address-probes.ts";
import type { ClaimBuilder } from "./claim-builder.ts";
import type { DefaultNetwork } from "./default-network.ts";

interface PreclaimsOptions {
  nodeName: string;
  pods: Pick<PodSource, "subscribe">;
  claims: Pick<ClaimBuilder, "derivePreclaim">;
  defaultNetwork: Pick<DefaultNetwork, "isOurs" | "observeForeignPod">;
  ipam: Pick<IpamClient, "claim" | "release">;
  held: HeldPorts;
  leases: Pick<Leases, "reserve" | "cancelReservation" | "observe">;
  probes: Pick<AddressProbes, "begin">;
  journal: Journal;
  metrics: Pick<AgentMetrics, "preclaims">;
  log: Logger;
  /** Collects pods for this time into one batch. Default 5. */
  gatherMs?: number;
}

/**
 * Pre-claims the first port of each pod that is scheduled to this node, so that its ADD finds the port. A failure is no
 * error, because ADD claims again and reports it. Releases the port of a pod that is deleted before its ADD; the sweep
 * releases that of a pod that runs without it.
 */
export class Preclaims implements AsyncDisposable {
  readonly #options: PreclaimsOptions;
  readonly #subscription: Disposable;
  /** UIDs of this node's pods whose pre-claim was tried. */
  readonly #tried = new Set<string>();
  /** Those of them that have not run yet. */
  readonly #expected = new Set<string>();
  readonly #running = new Set<Promise<void>>();
  #gathered: NodePod[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: PreclaimsOptions) {
    this.#options = options;
    this.#subscription = options.pods.subscribe(change => this.#handleChange(change));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#subscription[Symbol.dispose]();
    clearTimeout(this.#timer);
    await Promise.all(this.#running);
  }

  #handleChange({ type, pod }: PodChange): void {
    if (type === "gone") {
      this.#tried.delete(pod.uid);
      this.#expected.delete(pod.uid);
      this.#options.leases.cancelReservation(pod.uid);
      this.#run(this.#releaseUnused(pod.uid));
    } else if (this.#tried.has(pod.uid)) {
      if (pod.hasRun && this.#expected.delete(pod.uid)) this.#observeRun(pod);
    } else if (shouldPreclaim(pod, this.#options.nodeName) && this.#options.defaultNetwork.isOurs) {
      this.#tried.add(pod.uid);
      this.#expected.add(pod.uid);
      this.#gathered.push(pod);
      this.#timer ??= setTimeout(() => this.#claimGathered(), this.#options.gatherMs ?? 5);
    }
  }

  /** A pod that runs without an ADD of its first interface got that from another plugin. */
  #observeRun({ uid, namespace, name }: NodePod): void {
    const { held, leases, defaultNetwork, log } = this.#options;
    if (held.find(uid, DEFAULT_INTERFACE)?.sandboxId !== undefined) return;
    leases.cancelReservation(uid);
    if (!defaultNetwork.isOurs) return;
    defaultNetwork.observeForeignPod();
    log.info({ pod: `${namespace}/${name}` }, "the default network is another plugin's, pre-claims stop");
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
    const { claims, ipam, held, leases, probes, metrics, log } = this.#options;
    try {
      const claim = await claims.derivePreclaim(pod);
      // An ADD has claimed it first.
      if (held.find(pod.uid, DEFAULT_INTERFACE)?.attachment !== undefined || !this.#tried.has(pod.uid)) return;
      // Its ADD gets a leased address, so that a port would be released unused.
      if (leases.reserve(claim)) return;
      using drops = held.observeDrops(pod.uid, DEFAULT_INTERFACE);
      const attachment = await ipam.claim(claim);
      metrics.preclaims.inc({ outcome: "claimed" });
      probes.begin(attachment);
      leases.observe(claim, attachment);
      const { port } = attachment;
      // If a DEL came before the answer, the binding may have ended: do not cache it.
      if (!drops.wasDropped && held.find(pod.uid, DEFAULT_INTERFACE)?.attachment === undefined) {
        const sandboxId = findBinding(attachment).sandbox?.id;
        held.put(pod.uid, DEFAULT_INTERFACE, {
          port,
          attachment,
          claim,
          ...(sandboxId !== undefined && { sandboxId }),
        });
      }
      log.debug({ pod: `${pod.namespace}/${pod.name}`, port: port.name, epoch: port.epoch }, "pre-claimed");
      if (!this.#tried.has(pod.uid)) await this.#releaseUnused(pod.uid);
    } catch (error) {
      metrics.preclaims.inc({ outcome: "failed" });
      log.debug({ pod: `${pod.namespace}/${pod.name}`, reason: describeError(error) }, "pre-claim failed");
    }
  }

  /** Releases the pre-claim of a deleted pod if no sandbox uses it. */
  async #releaseUnused(ownerUid: string): Promise<void> {
    const { held, ipam, journal, nodeName, metrics, log } = this.#options;
    const found = held.find(ownerUid, DEFAULT_INTERFACE);
    if (found === undefined || found.sandboxId !== undefined) return;
    held.drop(ownerUid, DEFAULT_INTERFACE);
    metrics.preclaims.inc({ outcome: "released" });
    const release = buildUnusedRelease(found.port.name, nodeName, ownerUid);
    try {
      const [result] = await ipam.release([release], RELEASE_POLICY);
      if (result !== undefined && "problem" in result) throw new Error(result.problem.detail);
    } catch (error) {
      log.warn(
        { port: release.name, reason: describeError(error) },
        "cannot release an unused port, journaled the release",
      );
      await journal
        .append({ kind: "release", release })
        .catch(cause =>
          log.error({ err: cause, port: release.name }, "cannot journal the release, the next sweep releases the port"),
        );
    }
  }
}

/** True if the pod needs a port and none of its containers has run: a running pod has its port. */
export function shouldPreclaim(pod: NodePod, nodeName: string): boolean {
  return pod.waiting && needsPort(pod, nodeName);
}
