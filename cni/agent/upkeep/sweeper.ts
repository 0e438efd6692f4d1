import { Counter } from "prom-client";
import type { Port } from "../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import {
  confirmDue,
  type DestructiveAction,
  decideSweep,
  type InactivePort,
  type PendingRemovals,
  type SweepAction,
  type SweepView,
  selectDue,
} from "./decide-sweep.ts";
import type { LocalChanges } from "./local-changes.ts";
import { bindingKey, type LocalPort } from "./local-port.ts";
import type { MigrationTargets } from "./migration-targets.ts";
import type { NodeView } from "./node-view.ts";
import type { UpkeepContext } from "./upkeep-context.ts";

const CONCURRENCY = 16;

export interface SweeperOptions {
  context: UpkeepContext;
  view: NodeView;
  changes: LocalChanges;
  migrations: Pick<MigrationTargets, "states">;
  now?(): number;
}

/** Compares OVS, the kernel, the IPAM and Kubernetes, and repairs differences. See `decideSweep` for the rules. */
export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #now: () => number;
  /** Binding keys of local ports whose binding has ended. See `SweepView.ended`. */
  readonly ended = new Set<string>();
  readonly #sweeps: Counter;
  #pending: PendingRemovals = new Map();
  #mayRecover = true;
  /** As the IPAM answered last. */
  #isRecovering = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#sweeps = new Counter({
      name: "mooring_agent_sweeps_total",
      help: "Completed comparisons of OVS, the kernel, the IPAM and Kubernetes",
      registers: [options.context.metrics.registry],
    });
    this.#now = options.now ?? (() => performance.now());
  }

  /** Number of removals in their grace period. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** True from `expectRecovery` until the IPAM has answered that it is not recovering from a restore. */
  get mayRecover(): boolean {
    return this.#mayRecover;
  }

  /** To be called when another IPAM server, or another database, may have answered since the last sweep. */
  expectRecovery(): void {
    this.#mayRecover = true;
    this.#isRecovering = false;
  }

  /** Sweeps once. Rejects if OVS or the kernel cannot be read. Other failures are logged and retried at the next sweep. */
  async sweep(): Promise<void> {
    const { config } = this.#options.context;
    const local = await this.#options.view.read();
    const present = new Set(local.map(bindingKey));
    for (const key of this.ended) if (!present.has(key)) this.ended.delete(key);
    const { view, actions } = await this.#decide(await this.#fetchView(local));
    const removals = actions.filter(isDestructive);
    const { due, pending } = selectDue(removals, this.#pending, this.#now(), config.sweepGrace);
    this.#pending = pending;
    const confirmed = due.length === 0 ? [] : await this.#confirm(due, view);
    const work: SweepAction[] = [...actions.filter(action => !isDestructive(action)), ...confirmed];
    for (let from = 0; from < work.length; from += CONCURRENCY) {
      await Promise.all(work.slice(from, from + CONCURRENCY).map(action => this.#apply(action)));
    }
    this.#sweeps.inc();
    const unclaimed = actions.filter(action => action.kind === "claim" || isDestructive(action)).length;
    if (this.#mayRecover) await this.#reportRecovery(view, unclaimed + countUnread(view));
  }

  /** Asks before it fences for a newer binding whether that is a backup's, which any sweep may be the first to meet. */
  async #decide(fetched: SweepView): Promise<{ view: SweepView; actions: SweepAction[] }> {
    const view = { ...fetched, isRecovering: this.#isRecovering };
    const actions = decideSweep(view);
    const moved = actions.filter(action => action.kind === "fence" && action.reason === "moved").length;
    if (this.#isRecovering || moved === 0) return { view, actions };
    await this.#reportRecovery(view, moved);
    const again = { ...view, isRecovering: this.#isRecovering };
    return { view: again, actions: decideSweep(again) };
  }

  /** Reports, after a restore of the IPAM, how much that is plugged here is not claimed, or else not released. */
  async #reportRecovery(view: SweepView, pending: number): Promise<void> {
    if (view.bindings === undefined || view.pods === undefined) return;
    const report = { ...view.self, pending };
    const recovery = await this.#read("recovery", () => this.#options.context.ipam.reportRecovery(report));
    if (recovery === undefined) return;
    this.#mayRecover = recovery.active;
    this.#isRecovering = recovery.active;
  }

  /** Decides due removals again with fresh reads of their pods. Without an answer, only what depends on no pod is left. */
  async #confirm(due: readonly DestructiveAction[], view: SweepView): Promise<DestructiveAction[]> {
    const suspects = new Set(due.map(({ ownerUid }) => ownerUid).filter(uid => uid !== undefined));
    const fresh = await this.#read("pods", () => this.#options.context.pods.fetch(suspects));
    const { pods: watched, ...rest } = view;
    if (fresh === undefined || watched === undefined) return confirmDue(due, decideSweep(rest).filter(isDestructive));
    const pods = new Map([...Array.from(watched).filter(([uid]) => !suspects.has(uid)), ...fresh]);
    return confirmDue(due, decideSweep({ ...rest, pods }).filter(isDestructive));
  }

  async #fetchView(local: LocalPort[]): Promise<SweepView> {
    const { config, ipam, held, leases, unreported, pods: source } = this.#options.context;
    const self = { host: config.nodeName, cluster: config.cluster };
    const heldBefore = new Set(held.values());
    const leasedBefore = new Set(leases.ports());
    const bindings = await this.#read("bindings", async () =>
      (await ipam.readPortsOfHost(self.host)).filter(port => port.cluster === self.cluster),
    );
    if (bindings !== undefined) {
      // Entries that were added while the IPAM was read are newer than the answer.
      const current = new Set(bindings.map(({ id, epoch }) => `${id} ${epoch}`));
      const isLost = ({ id, epoch }: Port) => !current.has(`${id} ${epoch}`);
      held.dropWhere(each => heldBefore.has(each) && isLost(each.port));
      leases.dropWhere(port => leasedBefore.has(port) && isLost(port));
    }
    const others = bindings === undefined ? new Map() : await this.#fetchOthers(local, bindings);
    const inactive = bindings?.filter(
      (port): port is InactivePort => port.inactiveBinding !== undefined && port.inactiveBinding.host === self.host,
    );
    const pods = source.items;
    const isLeaseInUse = (name: string) => leases.isInUse(name) || unreported.has(name);
    return {
      self,
      local,
      others,
      ended: this.ended,
      isLeaseInUse,
      migrations: this.#options.migrations.states,
      ...(inactive && { inactive }),
      ...(bindings && { bindings: bindings.filter(({ binding }) => binding?.host === self.host) }),
      // As they are now: the watch changes the map.
      ...(pods && { pods: new Map(pods) }),
    };
  }

  async #fetchOthers(local: LocalPort[], bindings: Port[]): Promise<Map<string, Port | undefined>> {
    const here = new Set(bindings.map(({ name }) => name));
    const names = new Set(local.map(({ ovs }) => ovs?.portName).filter(name => name !== undefined && !here.has(name)));
    const others = new Map<string, Port | undefined>();
    for (const name of names) {
      if (name === undefined) continue;
      try {
        others.set(name, await this.#options.context.ipam.readPort(name));
      } catch (error) {
        if (error instanceof IpamError && error.code === "not_found") others.set(name, undefined);
        else this.#fail("bindings", error);
      }
    }
    return others;
  }

  async #apply(action: SweepAction): Promise<void> {
    const { changes, context } = this.#options;
    try {
      switch (action.kind) {
        case "fence":
          return void (await changes.fence(action.local, action.reason));
        case "activate":
          return void (await changes.activate(action.local, action.port));
        case "restoreVlan":
          return void (await changes.restoreVlan(action.local, action.found));
        case "replug":
          return void (await changes.replug(action.local, action.port));
        case "restore":
          return void (await changes.restore(action.local));
        case "claim": {
          const pod = (await context.pods.fetch(new Set([action.ownerUid]))).get(action.ownerUid);
          return pod && void (await changes.claimAgain(action.local, pod, action.leasedPort));
        }
        case "report": {
          const { name, epoch } = action.port;
          return void (await context.ipam.report([{ name, epoch, plane: "underlay", state: "ACTIVE" }]));
        }
        case "unplug":
          if (await changes.unplug(action.local, action.release)) this.#logRemoval(action, action.local.ovs?.portName);
          return;
        case "release":
          if (await changes.release(action.port, action.release)) this.#logRemoval(action, action.port.name);
      }
    } catch (error) {
      this.#fail(action.kind, error);
    }
  }

  #logRemoval({ kind, why }: DestructiveAction, port: string | undefined): void {
    this.#options.context.log.info(
      { port, why },
      kind === "unplug" ? "removed abandoned port" : "released abandoned binding",
    );
  }

  /** Returns undefined if the read fails. */
  async #read<T>(component: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.#fail(component, error);
      return undefined;
    }
  }

  #fail(component: string, error: unknown): void {
    const { metrics, log } = this.#options.context;
    metrics.failures.inc({ component: `sweep-${component}` });
    log.warn({ err: error, component }, "sweep step failed, retrying at the next sweep");
  }
}

/** Plugged ports of which the IPAM was asked and has not answered: they may have to be claimed. */
function countUnread({ local, bindings = [], others }: SweepView): number {
  const known = new Set([...bindings.map(({ name }) => name), ...others.keys()]);
  return local.filter(({ ovs, hasLink }) => hasLink && ovs?.portName !== undefined && !known.has(ovs.portName)).length;
}

function isDestructive(action: SweepAction): action is DestructiveAction {
  return action.kind === "unplug" || action.kind === "release";
}
