import { BackgroundLoop } from "../../../ipam-server/process/background-loop.ts";
import { describeError } from "../../spec/cni-error.ts";
import { deriveMigration, type MigrationTarget } from "../pod/migration.ts";
import type { NodePod, PodChange } from "../pod/pods.ts";
import type { UpkeepContext } from "./upkeep-context.ts";

type Context = Pick<UpkeepContext, "config" | "pods" | "api" | "log">;

interface Waiting {
  pod: NodePod;
  target: MigrationTarget;
}

/** Only while a target of this node waits, which is rare and short. */
const POLL_MS = 1000;
const IDLE_MS = 3_600_000;

/**
 * Which pods of this node are targets of live migrations, and whether the machine runs in them by now: when KubeVirt says so
 * on the pod, or when the instance's status names this node, whichever is seen first.
 */
export class MigrationTargets {
  readonly #context: Context;
  readonly #waiting = new Map<string, Waiting>();
  readonly #states = new Map<string, "waiting" | "ready">();
  #lastFailure: string | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  /** By pod UID. */
  get states(): ReadonlyMap<string, "waiting" | "ready"> {
    return this.#states;
  }

  /** Follows this node's pods until disposed of. `onReady` requests a sweep. */
  watch(onReady: () => void): AsyncDisposable {
    const polling = new BackgroundLoop({ pass: () => this.#poll(onReady) });
    const subscription = this.#context.pods.subscribe(change => {
      this.#handleChange(change, onReady);
      if (this.#waiting.size > 0) polling.wake();
    });
    return {
      async [Symbol.asyncDispose]() {
        subscription[Symbol.dispose]();
        await polling[Symbol.asyncDispose]();
      },
    };
  }

  #handleChange({ type, pod }: PodChange, onReady: () => void): void {
    const target = deriveMigration(pod);
    if (target === undefined) return;
    if (type === "gone" || pod.finished) {
      this.#waiting.delete(pod.uid);
      this.#states.delete(pod.uid);
    } else if (target.isReady) this.#setReady(pod.uid, onReady);
    else if (this.#states.get(pod.uid) !== "ready") {
      this.#states.set(pod.uid, "waiting");
      this.#waiting.set(pod.uid, { pod, target });
    }
  }

  #setReady(uid: string, onReady: () => void): void {
    this.#waiting.delete(uid);
    if (this.#states.get(uid) === "ready") return;
    this.#states.set(uid, "ready");
    onReady();
  }

  /** Resolves with the pause before the next pass, which a new target cuts short. */
  async #poll(onReady: () => void): Promise<number> {
    const { config } = this.#context;
    for (const [uid, { pod, target }] of this.#waiting) {
      const node = await this.#readNode(pod.namespace, target.instance);
      if (node === config.nodeName && this.#waiting.has(uid)) this.#setReady(uid, onReady);
    }
    return this.#waiting.size > 0 ? POLL_MS : IDLE_MS;
  }

  /** Undefined if it cannot be read: the pod's annotation is enough. */
  async #readNode(namespace: string, name: string): Promise<string | undefined> {
    const { api, log } = this.#context;
    const path = `/apis/kubevirt.io/v1/namespaces/${encodeURIComponent(namespace)}/virtualmachineinstances/${encodeURIComponent(name)}`;
    try {
      const { status } = (await api.get(path)) as { status?: { nodeName?: unknown } };
      return typeof status?.nodeName === "string" ? status.nodeName : undefined;
    } catch (error) {
      const reason = describeError(error);
      if (reason !== this.#lastFailure)
        log.warn({ instance: `${namespace}/${name}`, reason }, "cannot read the instance");
      this.#lastFailure = reason;
      return undefined;
    }
  }
}
