import { Counter } from "prom-client";
import type { Port } from "../../../ipam-server/contract/index.ts";
import { IpamError } from "../../../ipam-server/contract/index.ts";
import type { NodePod } from "../pod/pods.ts";
import {
  type DestructiveAction,
  decideSweep,
  type PendingRemovals,
  type SweepAction,
  type SweepView,
  selectDue,
} from "./decide-sweep.ts";
import type { LocalChanges } from "./local-changes.ts";
import { bindingKey, type LocalPort } from "./local-port.ts";
import type { NodeView } from "./node-view.ts";
import type { UpkeepContext } from "./upkeep-context.ts";

const AT_ONCE = 16;

export interface SweeperOptions {
  context: UpkeepContext;
  view: NodeView;
  changes: LocalChanges;
  now?(): number;
}

/** Compares OVS, the kernel, the IPAM and Kubernetes, and brings them together. See `decideSweep` for the rules. */
export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #now: () => number;
  /** Local ports whose binding the IPAM said had ended; see SweepView. */
  readonly ended = new Set<string>();
  readonly #sweeps: Counter;
  #suspects: PendingRemovals = new Map();

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#sweeps = new Counter({
      name: "mooring_agent_sweeps_total",
      help: "Comparisons of OVS, the kernel, the IPAM and Kubernetes that were made",
      registers: [options.context.metrics.registry],
    });
    this.#now = options.now ?? (() => performance.now());
  }

  /** How many things look abandoned and wait for their second look. */
  get pendingCount(): number {
    return this.#suspects.size;
  }

  /** One look. Rejects when what is plugged cannot be read; what else fails is told, and tried again at the next. */
  async sweep(): Promise<void> {
    const { config } = this.#options.context;
    const local = await this.#options.view.read();
    const lives = new Set(local.map(bindingKey));
    for (const life of this.ended) if (!lives.has(life)) this.ended.delete(life);
    const { view, pods } = await this.#fetchView(local);
    const actions = decideSweep(view);
    const taking = actions.filter(action => action.kind === "unplug" || action.kind === "release");
    const { due, suspects } = selectDue(taking, this.#suspects, this.#now(), config.sweepGrace);
    this.#suspects = suspects;
    const work: SweepAction[] = [...actions.filter(action => !isDestructive(action)), ...due];
    for (let from = 0; from < work.length; from += AT_ONCE) {
      await Promise.all(work.slice(from, from + AT_ONCE).map(action => this.#apply(action, pods)));
    }
    this.#sweeps.inc();
  }

  /** Bindings before pods: a pod is there before its claim is, so a binding seen here has its pod in the later read. */
  async #fetchView(local: LocalPort[]): Promise<{ view: SweepView; pods: ReadonlyMap<string, NodePod> | undefined }> {
    const { config, ipam, held, leases, unreported, pods: source } = this.#options.context;
    const self = { host: config.nodeName, cluster: config.cluster };
    const heldBefore = new Set(held.values());
    const leasedBefore = new Set(leases.ports());
    const bindings = await this.#read("bindings", async () =>
      (await ipam.readPortsOfHost(self.host)).filter(port => port.cluster === self.cluster),
    );
    if (bindings !== undefined) {
      // What was learned while the IPAM was read is newer than what was read.
      const current = new Set(bindings.map(({ id, epoch }) => `${id} ${epoch}`));
      const isLost = ({ id, epoch }: Port) => !current.has(`${id} ${epoch}`);
      held.dropWhere(each => heldBefore.has(each) && isLost(each.port));
      leases.dropWhere(port => leasedBefore.has(port) && isLost(port));
    }
    const others = bindings === undefined ? new Map() : await this.#fetchOthers(local, bindings);
    const pods = await this.#read("pods", async () => new Map((await source.fetchAll()).map(pod => [pod.uid, pod])));
    const isLeaseInUse = (name: string) => leases.isInUse(name) || unreported.has(name);
    const view = {
      self,
      local,
      others,
      ended: this.ended,
      isLeaseInUse,
      ...(bindings && { bindings }),
      ...(pods && { pods }),
    };
    return { view, pods };
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

  async #apply(action: SweepAction, pods: ReadonlyMap<string, NodePod> | undefined): Promise<void> {
    const { changes, context } = this.#options;
    try {
      switch (action.kind) {
        case "fence":
          return void (await changes.fence(action.local, action.reason));
        case "replug":
          return void (await changes.replug(action.local, action.port));
        case "restore":
          return void (await changes.restore(action.local));
        case "claim": {
          const pod = pods?.get(action.ownerUid);
          return pod && void (await changes.claimAgain(action.local, pod, action.leasedPort));
        }
        case "report": {
          const { name, epoch } = action.port;
          return void (await context.ipam.report([{ name, epoch, plane: "underlay", state: "ACTIVE" }]));
        }
        case "unplug":
          if (await changes.unplug(action.local, action.release)) this.#tell(action, action.local.ovs?.portName);
          return;
        case "release":
          if (await changes.release(action.port, action.release)) this.#tell(action, action.port.name);
      }
    } catch (error) {
      this.#fail(action.kind, error);
    }
  }

  #tell({ kind, why }: DestructiveAction, port: string | undefined): void {
    this.#options.context.log.info({ port, why }, kind === "unplug" ? "swept from OVS" : "binding released");
  }

  /** Undefined when it could not be read whole. */
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
    log.warn({ err: error, component }, "a sweep could not do all; it will be tried again");
  }
}

function isDestructive(action: SweepAction): action is DestructiveAction {
  return action.kind === "unplug" || action.kind === "release";
}
