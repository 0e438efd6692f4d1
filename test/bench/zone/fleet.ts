import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Port } from "../../../ipam-server/contract/index.ts";
import type { Answer, FleetCall, FleetCalls, FleetNode, WorkerOptions, WorkerSeen } from "./fleet-protocol.ts";
import type { ZonePod } from "./pod.ts";

export interface FleetOptions {
  nodes: readonly FleetNode[];
  journalDir: string;
  threads: number;
}

/** All nodes' agents, on threads of their own. */
export class Fleet implements AsyncDisposable {
  readonly #threads: FleetThread[];
  readonly #threadOf = new Map<string, FleetThread>();

  constructor({ nodes, journalDir, threads }: FleetOptions) {
    this.#threads = Array.from({ length: threads }, (_, index) => {
      const mine = nodes.filter((_, place) => place % threads === index);
      const thread = new FleetThread({ nodes: mine, journalDir });
      for (const { name } of mine) this.#threadOf.set(name, thread);
      return thread;
    });
  }

  start(node: string): Promise<void> {
    return this.#of(node).call("start", { node });
  }

  stop(node: string, how: "agent" | "crash"): Promise<void> {
    return this.#of(node).call("stop", { node, how });
  }

  add(node: string, pod: ZonePod): Promise<Port> {
    return this.#of(node).call("add", { node, pod });
  }

  del(node: string, pod: ZonePod): Promise<void> {
    return this.#of(node).call("del", { node, pod });
  }

  take(): Promise<WorkerSeen[]> {
    return Promise.all(this.#threads.map(thread => thread.call("take", undefined)));
  }

  /** Resolves when no agent has anything left to do. Rejects when some still have at the deadline. */
  async settled(timeoutMs: number): Promise<void> {
    for (const deadline = performance.now() + timeoutMs; ; await sleep(100)) {
      const unsettled = (await Promise.all(this.#threads.map(thread => thread.call("unsettled", undefined)))).flat();
      if (unsettled.length === 0) return;
      if (performance.now() < deadline) continue;
      const some = unsettled.slice(0, 5).join(", ");
      throw new Error(`${unsettled.length} agents were not settled within ${timeoutMs} ms: ${some}`);
    }
  }

  #of(node: string): FleetThread {
    const thread = this.#threadOf.get(node);
    if (thread === undefined) throw new Error(`there is no node ${node}`);
    return thread;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread[Symbol.asyncDispose]()));
  }
}

class FleetThread implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #asked = 0;

  constructor(options: WorkerOptions) {
    this.#worker = new Worker(new URL("./fleet-worker.ts", import.meta.url), { workerData: options });
    this.#worker.on("message", (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ("failure" in answer) waiting?.reject(new Error(answer.failure));
      else waiting?.resolve(answer.answer);
    });
    this.#worker.on("error", error => {
      for (const { reject } of this.#waiting.values()) reject(error);
      this.#waiting.clear();
    });
  }

  call<C extends FleetCall>(call: C, argument: FleetCalls[C]["argument"]): Promise<FleetCalls[C]["answer"]> {
    const id = ++this.#asked;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#worker.postMessage({ id, call, argument });
    return waiting.promise as Promise<FleetCalls[C]["answer"]>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}
