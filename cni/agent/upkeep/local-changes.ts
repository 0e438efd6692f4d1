import { RELEASE_POLICY } from "../../../ipam-server/client/retry-policy.ts";
import type { Claim, Port, PortAttachment, Release, Segment } from "../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import { DEFAULT_INTERFACE } from "../../../ipam-server/contract/port.ts";
import { describeError } from "../../spec/cni-error.ts";
import { sandboxKey } from "../calls/keyed-queue.ts";
import { ClaimBuilder } from "../claims/claim-builder.ts";
import { findInstance } from "../pod/migration.ts";
import type { NodePod } from "../pod/pods.ts";
import type { FenceReason, InactivePort } from "./decide-sweep.ts";
import { deriveReplug, deriveRestore } from "./derive-replug.ts";
import type { LocalPort } from "./local-port.ts";
import type { NodeView } from "./node-view.ts";
import type { UpkeepContext } from "./upkeep-context.ts";

/**
 * Changes of local ports by upkeep. Each runs inside the sandbox's queue, and only if the port is unchanged since the
 * decision, because a CNI call may have run meanwhile. All resolve with true if something was changed.
 */
export class LocalChanges {
  readonly #context: UpkeepContext;
  readonly #view: NodeView;
  readonly #claims: ClaimBuilder;

  constructor(context: UpkeepContext, view: NodeView) {
    this.#context = context;
    this.#view = view;
    this.#claims = new ClaimBuilder({ config: context.config, pods: context.pods, now: () => new Date() });
  }

  /** Disconnects a port whose binding has moved or ended, even if a pod still uses it; `replug` undoes it. */
  async fence(local: LocalPort, reason: FenceReason): Promise<boolean> {
    return this.#enqueue(local, async () => this.#disconnect(local, reason));
  }

  /** Removes the port of a sandbox that is gone, and with `release` ends its binding. */
  async unplug(local: LocalPort, release: boolean): Promise<boolean> {
    return this.#enqueue(local, async () => {
      const { sandboxId, containerInterface } = local;
      this.#dropHeld(local);
      await this.#context.datapath.unplug(sandboxId, containerInterface, undefined);
      if (release) await this.#release(local);
      return true;
    });
  }

  /** Ends a binding without a plugged port. */
  async release(port: Port, release: Release): Promise<boolean> {
    const { held, ipam, queue } = this.#context;
    const { sandbox, ownerUid = "" } = release;
    const work = async () => {
      if (held.find(ownerUid, sandbox?.interface ?? DEFAULT_INTERFACE)?.port.name === port.name)
        held.dropPort(port.name);
      const [result] = await ipam.release([release]);
      if (result !== undefined && "problem" in result) throw IpamError.fromProblem(result.problem);
      return result?.released ?? false;
    };
    return sandbox === undefined ? work() : queue.run(sandboxKey(sandbox.id, sandbox.interface), work);
  }

  /** Restores the VLAN of a port that another program has changed. */
  async restoreVlan(local: LocalPort, found: string): Promise<boolean> {
    const { datapath, log, metrics } = this.#context;
    return this.#enqueue(local, async () => {
      if (!(await datapath.restoreVlan(local))) return false;
      metrics.wrongVlans.inc();
      log.error(
        { port: local.ovs?.portName, sandboxId: local.sandboxId, found },
        "VLAN of a port was changed, restored",
      );
      return true;
    });
  }

  /** Adds a live sandbox's port to OVS again, as the IPAM has it. */
  async replug(local: LocalPort, port: Port): Promise<boolean> {
    const { segment } = await this.#context.ipam.readNetwork(port.network);
    return this.#enqueue(local, () => this.#replug(local, port, segment));
  }

  /** Makes the INACTIVE binding of a migration's target ACTIVE, which ends the source's, and connects it. */
  async activate(local: LocalPort, { name, inactiveBinding: { host, epoch } }: InactivePort): Promise<boolean> {
    const { ipam, log } = this.#context;
    return this.#enqueue(local, async () => {
      const { port, segment } = await ipam.activate({ name, host, epoch });
      log.info({ port: name, sandboxId: local.sandboxId, epoch: port.epoch }, "activated a migration's target");
      const isConnected = await this.#replug(local, port, segment);
      if (isConnected) await ipam.report([{ name, epoch: port.epoch, plane: "underlay", state: "ACTIVE" }]);
      return isConnected;
    });
  }

  /** Adds a live sandbox's port to OVS again as OVS has or had it, on its own bridge, without the IPAM. */
  async restore(local: LocalPort): Promise<boolean> {
    const { datapath, bridges, log } = this.#context;
    const known = local.ovs ?? local.lastKnown;
    const wanted = deriveRestore(local, known, bridges);
    if (wanted === undefined) return false;
    return this.#enqueue(local, async () => {
      const plugged = await datapath.replug(wanted);
      const { portName: port, wrongBridge } = known ?? {};
      log.warn({ port, sandboxId: local.sandboxId, wrongBridge }, "replugged as last recorded");
      return plugged !== undefined;
    });
  }

  /** Claims the port of a live sandbox whose binding the IPAM lost, or whose lease it still has as a lease. */
  async claimAgain(local: LocalPort, pod: NodePod, leasedPort?: string): Promise<boolean> {
    const { config, ipam, held, log } = this.#context;
    const { sandboxId, containerInterface, ovs } = local;
    const sandbox = { id: sandboxId, interface: containerInterface };
    const preclaim = await this.#claims.derivePreclaim(pod, containerInterface);
    const claim = { ...preclaim, host: config.nodeName, sandbox, ...deriveWanted(ovs, leasedPort) };
    return this.#enqueue(local, async () => {
      let attachment: PortAttachment;
      try {
        attachment = await ipam.claim(claim);
      } catch (error) {
        if (!isTaken(error)) throw error;
        const isDisconnected = await this.#disconnect(local, "moved");
        this.#reportLost(local, pod, error);
        return isDisconnected;
      }
      const { port, segment } = attachment;
      // The machine that migrates has claimed it first: the next sweep decides by where it runs.
      if (attachment.inactive) return false;
      held.put(pod.uid, containerInterface, { port, attachment, claim: preclaim, sandboxId });
      log.warn({ port: port.name, sandboxId }, "binding lost, claimed again");
      return this.#replug(local, port, segment);
    });
  }

  /** The address of a live pod belongs to another port: only a new pod can get another one. */
  #reportLost({ ovs, sandboxId }: LocalPort, { uid }: NodePod, { message: why }: IpamError): void {
    const message = `uses ${ovs?.addresses.join(", ")}, which it can no longer have (${why}): disconnected, delete the pod`;
    this.#context.log.error({ port: ovs?.portName, sandboxId, addresses: ovs?.addresses }, message);
    this.#context.condition.setFault(uid, "AddressLost", message);
  }

  async #disconnect(local: LocalPort, reason: FenceReason): Promise<boolean> {
    const { datapath, log, metrics } = this.#context;
    if (local.isFenced) return false;
    this.#dropHeld(local);
    await datapath.fence(local);
    // A migration's target is not connected yet, and has lost nothing.
    if (reason !== "inactive") this.#setFault(local, reason);
    metrics.fencedPorts.inc({ reason });
    log.warn({ port: local.ovs?.portName, epoch: local.ovs?.epoch, sandboxId: local.sandboxId, reason }, "fenced");
    return true;
  }

  /**
   * A pod that runs in another sandbox here has not lost its address. KubeVirt ends the one that its machine migrated away
   * from.
   */
  #setFault({ ovs, containerInterface }: LocalPort, reason: "moved" | "released"): void {
    const { held, condition, pods } = this.#context;
    const { ownerUid, portName } = ovs ?? {};
    if (ownerUid === undefined || held.find(ownerUid, containerInterface) !== undefined) return;
    const pod = pods.items?.get(ownerUid);
    if (reason === "moved" && pod !== undefined && findInstance(pod) !== undefined) return;
    const cause = reason === "moved" ? "is bound elsewhere now" : "was released";
    const message = `The pod was disconnected on ${containerInterface}, because its port ${portName} ${cause}; delete the pod`;
    condition.setFault(ownerUid, reason === "moved" ? "AddressMoved" : "AddressReleased", message);
  }

  async #replug(local: LocalPort, port: Port, segment: Segment): Promise<boolean> {
    const { datapath, bridges, log } = this.#context;
    const lost = local.isFenced ? findLost(local, port) : [];
    if (lost.length > 0) {
      log.warn({ port: port.name, sandboxId: local.sandboxId, lost }, "fenced port has lost addresses; delete the pod");
      return false;
    }
    const plugged = await datapath.replug(deriveReplug(local, port, segment, bridges));
    log.info({ port: port.name, sandboxId: local.sandboxId, ofport: plugged?.ofport }, "replugged");
    if (plugged === undefined) return false;
    if (local.isFenced) {
      this.#context.condition.setConnected(port.owner?.uid);
      await this.#announce(local);
    }
    return true;
  }

  /** Switches have its MAC where it was before. Its next frame corrects that too, so a failure is only logged. */
  async #announce({ sandboxId, containerInterface, ovs, lastKnown }: LocalPort): Promise<void> {
    const { datapath, log } = this.#context;
    const netns = (ovs ?? lastKnown)?.netns;
    if (netns === undefined) return;
    await datapath
      .announce(netns, containerInterface)
      .catch(error => log.warn({ sandboxId, reason: describeError(error) }, "cannot announce a port's addresses"));
  }

  async #release({ sandboxId, containerInterface }: LocalPort): Promise<void> {
    const { ipam, unreported, journal, config, log } = this.#context;
    const sandbox = { id: sandboxId, interface: containerInterface };
    const release = { host: config.nodeName, sandbox, unplugged: true };
    try {
      const [result] = await (unreported.releaseAfterClaim(release, RELEASE_POLICY) ??
        ipam.release([release], RELEASE_POLICY));
      if (result !== undefined && "problem" in result) throw IpamError.fromProblem(result.problem);
    } catch (error) {
      await journal.append({ kind: "release", release });
      log.warn({ err: error, sandboxId }, "cannot release, journaled the release");
    }
  }

  #dropHeld({ sandboxId, containerInterface, ovs }: LocalPort): void {
    const { held } = this.#context;
    held.dropSandbox(sandboxId, containerInterface);
    const other = ovs?.ownerUid === undefined ? undefined : held.find(ovs.ownerUid, containerInterface);
    if (other !== undefined && other.sandboxId === undefined && other.port.epoch <= (ovs?.epoch ?? 0)) {
      held.drop(ovs?.ownerUid ?? "", containerInterface);
    }
  }

  #enqueue(local: LocalPort, work: () => Promise<boolean>): Promise<boolean> {
    return this.#context.queue.run(sandboxKey(local.sandboxId, local.containerInterface), async () =>
      (await this.#view.findAgain(local)) === undefined ? false : work(),
    );
  }
}

/** What the sandbox has, under the name it was plugged with, because labels and annotations may have changed. */
function deriveWanted(ovs: LocalPort["ovs"], leasedPort: string | undefined): Partial<Claim> {
  if (leasedPort !== undefined) return { leasedPort };
  if (ovs?.portName === undefined || ovs.addresses.length === 0) return {};
  const { portName: name, addresses: ips, mac } = ovs;
  return { name, ips, ...(mac !== undefined && { mac }), plugged: true };
}

/** Addresses that the pod uses and the IPAM's port has no longer. */
function findLost({ ovs }: LocalPort, { fixedIps }: Port): string[] {
  return (ovs?.addresses ?? []).filter(used => !fixedIps.some(({ address }) => address === used));
}

/** True if the port or address belongs to another claim. An address in its reuse delay does not. */
function isTaken(error: unknown): error is IpamError {
  if (!(error instanceof IpamError)) return false;
  const { code, details } = error;
  if (code === "address_in_use") return details.retryAfterSeconds === undefined;
  return code === "stale_owner" || code === "port_in_use";
}
